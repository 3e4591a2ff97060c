//! What a proven recovery system asks for and reports: its order, the milestones of a restore, a capture.
//!
//! It must never: take a word of another session or of an earlier order.

use images::ImageId;
use recovery_protocol::{
    agent::Captured,
    erase::{EraseFacts, ErasePolicy},
    job::Stage,
};

use super::{
    super::{
        job::{Erased, Refusal, Restored},
        limits::Limits,
    },
    Turn,
};

impl Turn<'_> {
    pub(super) fn order_asked(
        &mut self,
        session: &str,
        disk: &str,
        erase: ErasePolicy,
    ) -> Result<(), Refusal> {
        self.speaks(session)?;
        if self.among(&[Stage::Capturing, Stage::Imaging, Stage::ReadBack])? == Stage::ReadBack {
            self.enter(Stage::Imaging);
        }
        self.job.step_seq += 1;
        self.job.read_back = false;
        self.job.erase = erase;
        // The same disk may be at it still: the agent looks first, and says so.
        if self.job.disk != disk {
            self.job.erasing = None;
        }
        // Another disk was not erased, and less than what is demanded now is not enough.
        self.job.erased =
            self.job.erased.take().filter(|erased| erased.serial == disk && satisfies(erase, &erased.facts));
        self.job.disk = disk.to_owned();
        Ok(())
    }

    fn speaks(&self, session: &str) -> Result<(), Refusal> {
        self.working()?;
        if self.job.session.as_deref() == Some(session) { Ok(()) } else { Err(Refusal::Session) }
    }

    pub(super) fn reported(&mut self, session: &str, step_seq: u32, report: Restored) -> Result<(), Refusal> {
        self.speaks(session)?;
        let stage = self.among(&[Stage::Imaging, Stage::ReadBack, Stage::Disarming, Stage::OsWait])?;
        if step_seq != self.job.step_seq {
            return Err(Refusal::Order { got: step_seq, current: self.job.step_seq });
        }
        match report {
            Restored::Erasing(method, health)
                if stage == Stage::Imaging && self.job.erase != ErasePolicy::None =>
            {
                self.job.disk_health = Some(*health);
                self.job.erasing = Some(method);
                // What a disk does by itself takes as long as it takes.
                self.stamp(Some(Limits::ERASE));
            }
            Restored::Erased(facts) if stage == Stage::Imaging && satisfies(self.job.erase, &facts) => {
                self.job.erased = Some(Erased { serial: self.job.disk.clone(), facts: *facts });
                self.job.erasing = None;
                self.stamp(Some(self.limits.stage(Stage::Imaging)));
            }
            Restored::Written(_) if stage == Stage::Imaging && self.job.lacks_erasure() => {
                return Err(self.not_now());
            }
            Restored::Planned(plan, health) if stage == Stage::Imaging => {
                self.job.plan = Some(plan);
                self.job.disk_health = Some(*health);
            }
            Restored::Written(facts) if stage == Stage::Imaging => {
                // While it erases itself it takes nothing.
                (self.job.restore, self.job.erasing) = (Some(facts), None);
                self.enter(Stage::ReadBack);
            }
            Restored::Proven(facts) if stage == Stage::ReadBack => {
                self.job.restore = Some(facts);
                self.job.read_back = true;
            }
            Restored::Committed(facts) if stage == Stage::ReadBack && self.job.read_back => {
                self.job.restore = Some(facts);
                self.enter(Stage::Disarming);
            }
            Restored::Written(_) if stage == Stage::ReadBack => return Err(Refusal::Repeated),
            Restored::Committed(_) if stage > Stage::ReadBack => return Err(Refusal::Repeated),
            Restored::Erasing(..)
            | Restored::Erased(_)
            | Restored::Planned(..)
            | Restored::Written(_)
            | Restored::Proven(_)
            | Restored::Committed(_) => return Err(self.not_now()),
        }
        Ok(())
    }

    pub(super) fn captured(
        &mut self,
        session: &str,
        step_seq: u32,
        image: ImageId,
        captured: Captured,
    ) -> Result<(), Refusal> {
        self.speaks(session)?;
        let stage = self.among(&[Stage::Capturing, Stage::Disarming])?;
        if step_seq != self.job.step_seq {
            return Err(Refusal::Order { got: step_seq, current: self.job.step_seq });
        }
        if stage == Stage::Disarming {
            return Err(if self.job.image == image { Refusal::Repeated } else { self.not_now() });
        }
        (self.job.image, self.job.captured) = (image, Some(captured));
        self.enter(Stage::Disarming);
        Ok(())
    }
}

/// Whether an erasure is what `policy` demands.
fn satisfies(policy: ErasePolicy, facts: &EraseFacts) -> bool {
    policy.methods().contains(&facts.method)
}
