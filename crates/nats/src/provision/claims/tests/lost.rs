//! Consumers, their records and the leases of their hosts are lost.

use super::*;

/// Deletes streams, and makes them again, empty, as hosts do.
async fn lost(bed: &Bed, streams: &[&str]) {
    for stream in streams {
        let call = format!("STREAM.DELETE.{stream}");
        bed.connection()
            .call::<Value>(&call, &Value::Null)
            .await
            .unwrap();
    }
    crate::provision::ensure(&bed.transport, &JetstreamSpec::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn hosts_whose_leases_were_lost_are_not_robbed_of_their_consumers() {
    let bed = Bed::new().await;
    let (a, b) = (bed.host("a").await, bed.host("b").await);
    let wanted = work("nlp", None, "x");
    a.claim(&plugin("sentiment"), &wanted, &[]).await.unwrap();
    lost(&bed, &["KV_AGENT_LEASES"]).await;
    // One has its lease again, and the other one has not yet.
    let leases = bed.connection().kv("AGENT_LEASES").await.unwrap();
    leases.put("host.b", Bytes::from("{}")).await.unwrap();
    b.sweep(true).await.unwrap();
    assert_eq!(bed.names().await.len(), 5);
    let refused = b.claim(&plugin("other"), &wanted, &[]).await;
    assert!(refused.is_err(), "the work is taken");
    // One that gave its lease up has gone.
    leases.put("host.a", Bytes::from("{}")).await.unwrap();
    bed.dies("a").await;
    b.claim(&plugin("other"), &wanted, &[]).await.unwrap();
}

#[tokio::test]
async fn consumers_and_records_that_were_lost_are_made_again() {
    let bed = Bed::new().await;
    let (a, b) = (bed.host("a").await, bed.host("b").await);
    let wanted = work("nlp", None, "x");
    let sentiment = plugin("sentiment");
    a.claim(&sentiment, &wanted, &[]).await.unwrap();
    b.claim(&sentiment, &wanted, &[]).await.unwrap();
    lost(&bed, &["WORK_QUEUE", "KV_AGENT_CLAIMS"]).await;
    a.sweep(false).await.unwrap();
    assert_eq!(bed.names().await, Vec::<String>::new(), "healing is off");
    a.sweep(true).await.unwrap();
    b.sweep(true).await.unwrap();
    assert_eq!(bed.names().await.len(), 5);
    for consumer in consumers::of(&wanted[0]) {
        let (record, _) = a.record_of(&consumer.durable).await.unwrap().unwrap();
        assert_eq!(record.hosts, set(&["a", "b"]));
    }
    // A consumer that was let go of stays away.
    a.release(&sentiment).await.unwrap();
    b.release(&sentiment).await.unwrap();
    lost(&bed, &["KV_AGENT_CLAIMS"]).await;
    a.sweep(true).await.unwrap();
    assert_eq!(bed.names().await, Vec::<String>::new());
}

async fn input(bed: &Bed, workflow: &str) {
    bed.work(&format!("pipeline.{workflow}.01.extract")).await;
}

#[tokio::test]
async fn a_stage_goes_on_behind_the_inputs_that_are_done() {
    let bed = Bed::new().await;
    let a = bed.host("a").await;
    let reader = plugin("reader");
    a.claim(&reader, &[], &stage("extract")).await.unwrap();
    for workflow in ["w1", "w2", "w3"] {
        input(&bed, workflow).await;
    }
    let take = async || {
        let puller = bed.connection().puller("COORDINATION", "pipeline-extract");
        let mut pull = puller.pull(1, Duration::from_secs(5)).await.unwrap();
        pull.next().await.unwrap().unwrap()
    };
    for _ in 0..2 {
        take().await.acker.ack_confirmed().await.unwrap();
    }
    a.note_floors().await.unwrap();
    let again = async || {
        consumers::delete(bed.connection(), "pipeline-extract")
            .await
            .unwrap();
        a.sweep(true).await.unwrap();
        take().await
    };
    let next = again().await;
    assert_eq!(next.message.subject, "pipeline.w3.01.extract");
    // A change by hand keeps where it begins.
    let wanted = consumers::of_stage(&stage("extract")[0]);
    consumers::ensure(bed.connection(), &wanted, None)
        .await
        .unwrap();
    let state = consumers::state(bed.connection(), &wanted.durable).await;
    assert!(state.unwrap().unwrap().ack_floor() < 3);

    // Another stream of the same name has other inputs.
    lost(&bed, &["COORDINATION"]).await;
    input(&bed, "w4").await;
    assert_eq!(again().await.message.subject, "pipeline.w4.01.extract");
}
