//! Discovery of the service that a stream belongs to, which Grafana asks for as the label `service_name`.

pub const SERVICE_NAME: &str = "service_name";

/// Who does not say which service it is.
pub const UNKNOWN: &str = "unknown_service";

/// Labels that name the service, the first of them that is there; as Loki's default configuration has them.
pub const TOLD_BY: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// The service's name by the other labels, whose values `get` knows.
pub fn discover<'t>(get: impl Fn(&str) -> Option<&'t str>) -> &'t str {
    TOLD_BY.iter().find_map(|name| get(name).filter(|value| !value.is_empty())).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_label_of_the_list_names_the_service() {
        let found = |labels: &[(&str, &'static str)]| {
            discover(|name| labels.iter().find(|(known, _)| *known == name).map(|&(_, value)| value))
        };
        assert_eq!(found(&[("job", "j"), ("container", "c"), ("app", "")]), "c");
        assert_eq!(found(&[("k8s_job_name", "k"), ("service", "s")]), "s");
        assert_eq!(found(&[("pod", "p")]), "unknown_service");
    }
}
