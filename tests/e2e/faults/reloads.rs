//! Plugins that are replaced under load, every second time by one that cannot run.

use harness::{Plugin, component, rebuilt, until};

use super::bed::{Bed, worker};
use super::load::Load;
use super::pace::Pace;

#[tokio::test]
async fn a_plugin_is_replaced_and_every_second_one_is_broken() {
    let mut pace = Pace::of("reloads", 6);
    let mut bed = Bed::new(2).await;
    let load = Load::start(&bed.nats, &pace);
    let mut replaced = 0;
    while load.goes_on() {
        let instances = u32::try_from(pace.below(4) + 2).unwrap();
        let next = worker(Plugin::new("probe")).instances(instances);
        let version = format!("0.2.{replaced}");
        let good = component("probe");
        let broken = match pace.below(3) {
            0 => next.clone().component(&good[..good.len() / 2]),
            1 => next.clone().component(Vec::new()),
            _ => next.clone().section("[nonsense]\nkey = 1"),
        };
        for host in &bed.hosts {
            host.drop_in(&broken.clone().version(&format!("{version}-broken")));
        }
        pace.pause(500..1500).await;
        // Few different components, so that not each has to be compiled.
        let next = next.component(rebuilt(&good, &format!("v{}", replaced % 3)));
        for host in &bed.hosts {
            host.drop_in(&next.clone().version(&version));
        }
        replaced += 1;
        for host in &bed.hosts {
            until("it is replaced", async || {
                let lines = host.logs.find(|line| line.message() == "plugin replaced");
                (lines.len() >= replaced).then_some(())
            })
            .await;
        }
    }
    bed.settle(load, &pace).await;
}
