{
    let graph = graph::trace(|t| {
        let v0 = t.input("x0", DType::F32, [2, 3]);
        let v1 = t.state("x1", DType::F32, [2, 3]);
        let v2 = t.input("x2", DType::U32, []);
        let v3 = t.input("x3", DType::I32, [2, 3]);
        let v4 = t.constant(&Tensor::from_f32([2, 1], &[-0.146, -0.809])?);
        let v5 = t.scalar(0.406);
        let v6 = t.step_scalar(StepScalar::LearningRate);
        let v7 = v6.exp();
        let v8 = v7.divide(0.5);
        let v9 = v8.multiply(v8);
        let v10 = v9.add(0.5);
        let v11 = v8.divide(v10);
        let v12 = v11.multiply(0.5);
        let v13 = t.scalar(0.25);
        let v14 = v13.softplus();
        let v15 = v14.multiply(v14);
        let v16 = v15.add(0.5);
        let v17 = v14.divide(v16);
        let v18 = v1.sin();
        let v19 = v17.multiply(v17);
        let v20 = v19.add(v17);
        let v21 = v20.mean(&[]);
        let v22 = v14.multiply(v14);
        let v23 = v22.add(v14);
        let v24 = v23.mean(&[]);
        let v25 = v8.multiply(v8);
        let v26 = v25.add(v8);
        let v27 = v26.mean(&[]);
        let v28 = v8.multiply(v8);
        let v29 = v28.add(v8);
        let v30 = v29.mean(&[]);
        let v31 = v18.multiply(v18);
        let v32 = v31.add(v18);
        let v33 = v32.mean(&[0, 1]);
        let v34 = v21.add(v24);
        let v35 = v34.add(v27);
        let v36 = v35.add(v30);
        let v37 = v36.add(v33);
        t.output("loss", v37);
        Ok(())
    })?;
    let states: [&str; 1] = ["x1"];
    let graph = differentiate(&graph, "loss", &states)?;
    let (graph, ()) = graph::extend(graph, |t| {
        let rate = t.step_scalar(StepScalar::LearningRate);
        for name in states {
            let gradient = t.existing_output(&format!("gradient/{name}")).unwrap();
            t.update(name, t.state(name, DType::F32, gradient.shape()) - gradient * rate);
        }
        Ok(())
    })?;
    let mut session = Session::new(&device);
    session.set_state("x1", &Tensor::from_f32([2, 3], &[-0.64, 0.529, 1.0, -0.964, 1.111, 0.536])?)?;
    let mut program = session.compile(&graph)?;
    let inputs = [
    ];
    session.run(&mut program, &inputs, StepScalars::new(3, 7, 0.375))?;
    (session, program)
}
