//! An agent goes on as another version of its plugin, under the same id.

use crate::permissions::Ear;
use crate::runtime::Meters;

use super::super::Swap;
use super::super::backoff::Backoff;
use super::Life;

impl Life {
    /// The new version is started beside the old one, which goes on if the new one fails.
    pub(super) async fn replaced(&mut self, swap: Box<Swap>) {
        let Swap { version, done } = *swap;
        let meters = Meters::new(&version.spec.limits);
        self.resign();
        match self.raise(&version, meters.clone()).await {
            Ok(raised) => {
                self.ear = Ear::new(version.permissions.agent(&self.port.id));
                self.version = version;
                self.meters = meters;
                self.adopt();
                if let Some(old) = self.instance.take() {
                    old.stop("reload").await;
                }
                self.backoff = Backoff::default();
                self.announced = false;
                self.ready(raised);
                let _ = done.send(Ok(()));
            }
            Err(reason) => {
                let _ = done.send(Err(reason));
            }
        }
    }
}
