{
    let graph = graph::trace(|t| {
        let v0 = t.input("x0", DType::F32, [1, 2, 4, 5]);
        let v1 = t.state("x1", DType::F32, [1, 2, 4, 5]);
        let v2 = v0.moments(&[0, 3], 0.5).mean;
        let v3 = v0.normalise(&[1, 2], 0.1, Some(v0), Some(v1));
        let v4 = v0.normalise(&[0, 3], 0.5, None, None);
        let v5 = v0.reshape([1, 2, 20]);
        let v6 = v5.average_pool1d(&PoolOptions { kernel: [1, 3], stride: [1, 2], padding: [0, 1], dilation: [1, 1], ceil_mode: false, count_include_pad: true, divisor: None });
        let v7 = v0.average_pool2d(&PoolOptions { kernel: [3, 1], stride: [2, 3], padding: [1, 0], dilation: [1, 1], ceil_mode: true, count_include_pad: false, divisor: Some(3) });
        let v8 = v0.reshape([1, 2, 20]);
        let v9 = v8.adaptive_average_pool1d(3);
        let v10 = v0.adaptive_average_pool2d([3, 4]);
        let v11 = v0.reshape([1, 2, 20]);
        let v12 = v11.max_pool1d(&PoolOptions { kernel: [1, 1], stride: [2, 3], padding: [0, 0], dilation: [1, 1], ceil_mode: false, count_include_pad: true, divisor: None });
        let v13 = v0.max_pool2d(&PoolOptions { kernel: [1, 2], stride: [3, 1], padding: [0, 0], dilation: [2, 2], ceil_mode: true, count_include_pad: true, divisor: None });
        let v14 = v0.max_pool2d_with_indices(&PoolOptions { kernel: [2, 3], stride: [1, 2], padding: [0, 1], dilation: [1, 1], ceil_mode: false, count_include_pad: true, divisor: None })[1];
        let v15 = v0.reshape([1, 2, 20]);
        let v16 = v15.adaptive_max_pool1d(3);
        let v17 = v0.adaptive_max_pool2d([3, 4]);
        let v18 = v0.upsample2d(Extent::Size([6, 7]), Resample::Linear, false);
        let v19 = v0.upsample2d(Extent::Factor([1.0, 0.5]), Resample::Linear, true);
        let v20 = v0.reshape([1, 2, 20]);
        let v21 = v20.upsample1d(Extent::Size([1]), Resample::Nearest, false);
        let v22 = v0.flip(&[1, 2]);
        t.output("y0", v22);
        t.output("y1", v21);
        t.output("y2", v20);
        t.output("y3", v19);
        t.output("y4", v18);
        t.output("y5", v17);
        t.output("y6", v16);
        t.output("y7", v15);
        t.output("y8", v14);
        t.output("y9", v13);
        t.output("y10", v12);
        t.output("y11", v11);
        t.output("y12", v10);
        t.output("y13", v9);
        t.output("y14", v8);
        t.output("y15", v7);
        t.output("y16", v6);
        t.output("y17", v5);
        t.output("y18", v4);
        t.output("y19", v3);
        t.update("x1", v22);
        Ok(())
    })?;
    let mut session = Session::new(&device);
    session.set_state("x1", &Tensor::from_f32([1, 2, 4, 5], &[1.115, -0.125, -1.195, -0.722, -1.597, -0.67, -0.369, 1.052, 1.144, -1.78, -1.149, 0.783, -1.868, 0.225, -1.884, 1.559, -0.217, -1.861, 1.761, -0.804, 0.086, 0.0, -0.454, 0.772, 0.0, 1.834, 0.792, 1.044, 0.769, 1.975, 1.582, -0.698, 1.685, 1.005, -1.108, 1.766, -1.574, 0.406, 0.242, 0.035])?)?;
    let mut program = session.compile(&graph)?;
    let inputs = [
        ("x0", Input::F32(&[-0.849, -1.714, 0.113, 1.756, -0.102, 0.941, 0.683, -1.462, 1.058, 0.363, 0.324, -0.842, -1.914, -0.635, 1.117, 0.824, 0.444, -0.829, 0.762, 1.96, 0.645, 0.381, -0.0, 1.624, 1.802, -1.084, 1.758, 1.5, -0.336, -0.638, 1.0, -0.069, 1.485, -0.394, 1.685, -0.0, -0.994, -1.778, 0.998, -0.469])),
    ];
    session.run(&mut program, &inputs, StepScalars::new(3, 7, 0.375))?;
    (session, program)
}
