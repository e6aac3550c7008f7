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
        let v8 = v7.elu(0.5);
        let v9 = v8.maximum(v8);
        let v10 = t.scalar(0.25);
        let v11 = v10.sign();
        let v12 = v11.multiply(v11);
        let v13 = v12.add(0.5);
        let v14 = v13.pow(v11);
        let v15 = v14.dropout(0.0, 3);
        let v16 = v15.clamp(0.0, 1.0);
        let v17 = v16.permute(&[]);
        let v18 = v17.reshape([1, 1]);
        let v19 = v18.slice(&[0, 0], [1, 1]);
        let v20 = v19.broadcast_to([1, 3]);
        let v21 = v20.max(&[0, 1]);
        let v22 = v20.permute(&[1, 0]);
        let v23 = v20.matmul(v22);
        let v24 = v23.log_softmax(1);
        let v25 = v24.multiply(0.5);
        let v26 = v25.concat(&[v25], 0);
        let v27 = v25.pad(&[(1, 0), (2, 1)], 1.0);
        let v28 = t.scalar_u32(1);
        let v29 = v2.minimum(v28);
        let v30 = v26.gather_rows(v29);
        let v31 = t.scalar_u32(4);
        let v32 = v31.broadcast_to([2]);
        let v33 = v32.reshape([2]);
        let v34 = v26.scatter_add_rows(v33, 4);
        let v35 = v34.multiply(0.5);
        let v36 = t.scalar_u32(2);
        let v37 = v36.broadcast_to([4]);
        let v38 = t.scalar_u32(0);
        let v39 = v37.minimum(v38);
        let v40 = v39.reshape([4]);
        let v41 = v34.cross_entropy(v40);
        let v42 = v41.multiply(0.25);
        let v43 = t.constant(&Tensor::from_f32([2, 1], &[-0.146, -0.809])?);
        let v44 = v37.greater(v39);
        let v45 = v40.select(v38, v40);
        let v46 = v38.to_f32();
        let v47 = v46.multiply(1.8626451e-9);
        let v48 = v40.minimum(v40);
        let v49 = v35.argmax(0);
        let v50 = v30.reshape([1, 1, 1, 1]);
        let v51 = v50.slice(&[0, 0, 0, 0], [1, 1, 1, 1]);
        let v52 = v50.conv2d(v51, &Convolution { stride: [1, 2], padding: [(1, 1), (0, 0)], dilation: [2, 2], groups: 1 });
        let v53 = v52.multiply(0.125);
        t.output("y0", v53);
        t.output("y1", v50);
        t.output("y2", v44);
        t.output("y3", v26);
        t.update("x1", v1);
        Ok(())
    })?;
    let mut session = Session::new(&device);
    session.set_state("x1", &Tensor::from_f32([2, 3], &[-0.64, 0.529, 1.0, -0.964, 1.111, 0.536])?)?;
    let mut program = session.compile(&graph)?;
    let inputs = [
        ("x2", Input::U32(&[6])),
    ];
    session.run(&mut program, &inputs, StepScalars::new(3, 7, 0.375))?;
    (session, program)
}
