{
    let graph = graph::trace(|t| {
        let v0 = t.input("x0", DType::F32, [2, 3, 4]);
        let v1 = t.state("x1", DType::F32, [2, 3, 4]);
        let v2 = v0.rms_norm(None, 0.5);
        let v3 = v0.slice(&[0, 0, 0], [1, 1, 4]);
        let v4 = v3.reshape([4]);
        let v5 = v4.sin();
        let v6 = v0.rms_norm(Some(v5), 0.1);
        let v7 = v0.layer_norm(None, None, 0.5);
        let v8 = v0.layer_norm(Some(v4), None, 0.1);
        let v9 = v0.layer_norm(None, Some(v5), 0.5);
        let v10 = v0.layer_norm(Some(v4), Some(v5), 0.1);
        let v11 = v0.reshape([1, 2, 3, 4]);
        let v12 = v11.slice(&[0, 0, 0, 0], [1, 2, 1, 1]);
        let v13 = v12.reshape([2, 1]);
        let v14 = v13.sin();
        let v15 = v11.rotary(v13, v14, RotaryPairing::Half);
        let v16 = v0.reshape([1, 2, 3, 4]);
        let v17 = v16.slice(&[0, 0, 0, 0], [1, 2, 1, 2]);
        let v18 = v17.reshape([2, 2]);
        let v19 = v18.sin();
        let v20 = v16.rotary(v18, v19, RotaryPairing::Interleaved);
        let v21 = v10.multiply(0.25);
        t.output("y0", v20);
        t.output("y1", v19);
        t.output("y2", v18);
        t.output("y3", v17);
        t.output("y4", v16);
        t.output("y5", v15);
        t.output("y6", v14);
        t.output("y7", v13);
        t.output("y8", v12);
        t.output("y9", v11);
        t.output("y10", v10);
        t.output("y11", v9);
        t.output("y12", v8);
        t.output("y13", v7);
        t.output("y14", v6);
        t.output("y15", v5);
        t.update("x1", v21);
        Ok(())
    })?;
    let mut session = Session::new(&device);
    session.set_state("x1", &Tensor::from_f32([2, 3, 4], &[0.514, -0.318, -0.776, -0.773, 0.0, 1.0, -1.534, -1.452, -0.0, 0.467, 0.956, -0.0, 1.396, -0.786, -1.338, 1.478, -0.521, -1.539, 1.419, 1.417, -1.106, -1.425, 1.509, 1.534])?)?;
    let mut program = session.compile(&graph)?;
    let inputs = [
        ("x0", Input::F32(&[-0.22, -1.328, 0.605, 0.791, -1.953, 1.103, 0.155, 0.702, 0.269, 1.0, -0.182, -1.946, -0.556, -1.962, 1.362, 0.649, -1.96, -1.143, -0.037, 0.594, 1.311, -1.381, -0.711, -1.035])),
    ];
    session.run(&mut program, &inputs, StepScalars::new(3, 7, 0.375))?;
    (session, program)
}
