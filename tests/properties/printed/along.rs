{
    let graph = graph::trace(|t| {
        let v0 = t.input("x0", DType::F32, [3, 4]);
        let v1 = t.state("x1", DType::F32, [3, 4]);
        let v2 = t.input("x2", DType::U32, [3, 4]);
        let v3 = v0.cumulative_sum_by(0, CumulativeSum { exclusive: false, reverse: false });
        let v4 = v0.cumulative_sum_by(1, CumulativeSum { exclusive: true, reverse: true });
        let v5 = t.scalar_u32(2);
        let v6 = v2.minimum(v5);
        let v7 = v0.gather(0, v6);
        let v8 = v0.scatter_add(1, v2, v7);
        let v9 = v8.multiply(0.5);
        let v10 = v0.sort(0, false)[0];
        let v11 = v0.sort(1, true)[0];
        let v12 = v0.sort(0, false)[1];
        let v13 = v0.top_k(1, 1, true)[0];
        t.output("y0", v13);
        t.output("y1", v12);
        t.output("y2", v11);
        t.output("y3", v10);
        t.output("y4", v9);
        t.output("y5", v8);
        t.output("y6", v7);
        t.output("y7", v6);
        t.output("y8", v5);
        t.output("y9", v4);
        t.output("y10", v3);
        t.output("y11", v2);
        t.update("x1", v11);
        Ok(())
    })?;
    let mut session = Session::new(&device);
    session.set_state("x1", &Tensor::from_f32([3, 4], &[1.352, -1.275, 0.146, 0.908, 1.092, -0.0, 1.562, 0.567, -0.76, -1.279, 1.055, 1.727])?)?;
    let mut program = session.compile(&graph)?;
    let inputs = [
        ("x0", Input::F32(&[-0.981, 0.268, 0.949, 1.766, 1.592, 0.0, 0.22, 1.981, 1.227, -0.0, -0.257, 1.383])),
        ("x2", Input::U32(&[1, 3, 0, 4, 1, 4, 1, 1, 0, 6, 6, 3])),
    ];
    session.run(&mut program, &inputs, StepScalars::new(3, 7, 0.375))?;
    (session, program)
}
