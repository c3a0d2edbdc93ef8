//! smoke
use mistersmith::*;
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter("info").init();
    let env = config::HostEnv { nats_url: std::env::var("NATS_URL").ok(), ..Default::default() };
    let spec = config::load_host(None, &env).map_err(|f| anyhow::anyhow!("{f}"))?;
    let host = host::Host::build(spec).await?;
    let stop = host.stopper();
    tokio::spawn(async move { tokio::signal::ctrl_c().await.ok(); stop.cancel(); });
    println!("{:?}", host.summary().await);
    host.run().await;
    Ok(())
}
