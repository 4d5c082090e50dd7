//! The manifest that starts campaigns on a cluster.

use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;

#[test]
fn the_manifest_is_a_job() {
    let text = include_str!("../../../deploy/kubernetes.yaml");
    let written: Value = serde_saphyr::from_str(text).expect("YAML");
    let job: Job = serde_json::from_value(written.clone()).expect("a Job");
    // What the API does not have is not read, and missing here.
    assert_eq!(serde_json::to_value(&job).expect("JSON"), written);

    let spec = job.spec.expect("what is to be run");
    let pod = spec.template.spec.expect("a pod");
    // What these two need of the others, a server would say.
    assert!(spec.backoff_limit_per_index.is_some() && spec.pod_failure_policy.is_some());
    assert_eq!(spec.completion_mode.as_deref(), Some("Indexed"));
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
}
