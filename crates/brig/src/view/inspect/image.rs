//! `image inspect`.

use std::collections::BTreeMap;

use docker_types::container::{Empty, Healthcheck};
use docker_types::inspect::container::GraphDriver;
use docker_types::inspect::image::{ImageConfig, ImageInspect, Metadata, RootFs};
use docker_types::time;
use engine::model::Image;

/// Returns what `image inspect` shows.
pub(crate) fn image(image: &Image) -> ImageInspect {
    let config = &image.config;
    ImageInspect {
        id: image.id.to_string(),
        repo_tags: image.tags.iter().map(|tag| tag.familiar()).collect(),
        repo_digests: image.digests.iter().map(|digest| digest.familiar()).collect(),
        comment: config.comment.clone(),
        created: config.created.clone().unwrap_or_default(),
        docker_version: config.docker_version.clone(),
        author: config.author.clone().unwrap_or_default(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        os: config.os.clone(),
        size: i64::try_from(image.size).unwrap_or(i64::MAX),
        graph_driver: GraphDriver { data: BTreeMap::new(), name: "overlayfs".to_owned() },
        root_fs: RootFs {
            kind: "layers".to_owned(),
            layers: config.rootfs.diff_ids.iter().map(ToString::to_string).collect(),
        },
        metadata: Metadata { last_tag_time: time::ZERO.to_owned() },
        config: defaults(image),
        ..ImageInspect::default()
    }
}

fn defaults(image: &Image) -> ImageConfig {
    let config = &image.config.config;
    let set = |names: Vec<&String>| -> BTreeMap<String, Empty> {
        names.into_iter().map(|name| (name.clone(), Empty {})).collect()
    };
    let list = |texts: &[String]| if texts.is_empty() { None } else { Some(texts.to_vec()) };
    ImageConfig {
        user: config.user.clone(),
        exposed_ports: set(config.exposed_ports.keys().collect()),
        env: list(&config.env),
        cmd: config.cmd.clone(),
        healthcheck: config.healthcheck.as_ref().map(|check| Healthcheck {
            test: check.test.clone(),
            interval: check.interval,
            timeout: check.timeout,
            retries: check.retries,
            start_period: check.start_period,
            start_interval: check.start_interval,
        }),
        volumes: Some(set(config.volumes.keys().collect())).filter(|volumes| !volumes.is_empty()),
        working_dir: config.working_dir.clone(),
        entrypoint: config.entrypoint.clone(),
        on_build: list(&config.on_build),
        labels: Some(config.labels.clone()).filter(|labels| !labels.is_empty()),
        stop_signal: config.stop_signal.clone(),
    }
}
