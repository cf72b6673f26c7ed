//! Somebody who means harm: one attack each, by a principal of its own.

mod session;

use std::time::Duration;

use bytes::Bytes;
use clock::{IdSource, Random};
use crdt_document::{CONTENT, CrdtDocument};
use document_types::limits::{HARMFUL_UPDATES_MAX, STANDING_TOGETHER_MIN};
use document_types::{Counter, CounterSpan, ErrorCode, PeerId};
use xxhash_rust::xxh32::xxh32;

use crate::client::ClientHandle;
use crate::cluster::Cluster;
use crate::history::{Edit, History, Honesty, LineId};
use crate::plan::AttackKind;
use crate::trace::Trace;
use crate::trial;
use session::{Answer, CutOff, Offer};

/// Batches that fill a session's queue of events with their answers.
const DEAF_BATCHES: usize = 300;

/// Mutants that one attacker tries.
const MUTANTS: usize = 6;
/// An update is "loro", 16 bytes of checksum of which the last 4 count, 2 bytes of mode, blocks.
const CHECKSUM_AT: usize = 16;
const CHECKED_FROM: usize = 20;
const UPDATE_HEADER_BYTES: usize = 22;
const CHECKSUM_SEED: u32 = u32::from_le_bytes(*b"LORO");

/// What an attack is made of.
pub struct Attack {
    /// What it does.
    pub kind: AttackKind,
    /// Through which node; where two are needed, also through the next one.
    pub node: usize,
    /// On whose document, and whose peer id it takes.
    pub victim: ClientHandle,
    /// Its own choices.
    pub random: Random,
    /// Its ids.
    pub ids: IdSource,
    /// The servers.
    pub cluster: Cluster,
    /// The facts.
    pub history: History,
    /// The trace.
    pub trace: Trace,
}

/// A replica that is written in a hostile way, and its facts.
struct Forged {
    document: CrdtDocument,
    peer: PeerId,
    line: LineId,
    /// The end of what it wrote.
    end: Counter,
}

impl Attack {
    /// Does it.
    pub async fn run(self) {
        let name = format!("mallory-{:?}", self.kind);
        self.trace
            .note(&name, format_args!("begins on {}", self.victim.document));
        let done = match self.kind {
            AttackKind::ForeignPeer | AttackKind::StolenPeer => self.take_peer().await,
            AttackKind::EquivocateAcross => self
                .equivocate_across(1)
                .await
                .map(|()| self.history.met("equivocation through two nodes")),
            AttackKind::EquivocateInTurn => self.equivocate_in_turn().await,
            AttackKind::EquivocateStraddling => self
                .equivocate_across(3)
                .await
                .map(|()| self.history.met("straddling equivocation")),
            AttackKind::EquivocatePending => self.equivocate_pending().await,
            AttackKind::Gap => self.leave_a_gap().await,
            AttackKind::Dangling => self.dangle().await,
            AttackKind::Malformed => self.malform().await,
            AttackKind::Mutated => self.mutate().await,
            AttackKind::Harmful => self.harm().await,
            AttackKind::MixedBatch => self.mix().await,
            AttackKind::Deaf => self.be_deaf().await,
        };
        let end = if done.is_ok() { "ends" } else { "is cut off" };
        self.trace.note(&name, format_args!("{end}"));
    }

    async fn take_peer(&self) -> Result<(), CutOff> {
        let peer = self.victim.peer();
        let (mut session, known) = self.join(self.node).await?;
        let end = known.version()?.end(peer);
        let mut forged = self.forge(&known, peer)?;
        let batch = [self.write(&mut forged, 2)?];
        match self.offer(&mut session, &batch).await? {
            Answer::Acked if end > 0 => self.history.violation(format!(
                "{} was let in under {}'s peer id",
                batch[0].span, self.victim.name
            )),
            Answer::Acked => self.history.met("a peer id was stolen"),
            Answer::Refused(_) => self.history.met("a foreign peer id was refused"),
            Answer::None => {}
        }
        Ok(())
    }

    /// Two contents for the same operations: `first_count` tokens in one and `second_count` in the
    /// other.
    fn two_faced(
        &self,
        known: &CrdtDocument,
        first_count: usize,
        second_count: usize,
    ) -> Result<(Offer, Offer), CutOff> {
        let peer = self.ids.peer();
        let (mut one, mut other) = (self.forge(known, peer)?, self.forge(known, peer)?);
        Ok((
            self.write(&mut one, first_count)?,
            self.write(&mut other, second_count)?,
        ))
    }

    fn judge_two_faced(&self, answers: (Answer, Answer)) {
        match answers {
            (Answer::Acked, Answer::Acked) => {
                self.history
                    .violation("two contents of the same operations are safe".to_owned());
            }
            (Answer::Refused(_), _) | (_, Answer::Refused(_)) => {
                self.history.met("equivocation refused");
            }
            _ => {}
        }
    }

    /// Sends one token through one node, and under the same operations `other_count` through the other.
    async fn equivocate_across(&self, other_count: usize) -> Result<(), CutOff> {
        let (mut here, mut there, known) = self.join_both().await?;
        let (a, b) = self.two_faced(&known, 1, other_count)?;
        let (a, b) = (
            self.submit(&mut here, &[a]).await?,
            self.submit(&mut there, &[b]).await?,
        );
        let answers = (
            here.answer(&self.history, &self.trace, a).await,
            there.answer(&self.history, &self.trace, b).await,
        );
        self.judge_two_faced(answers);
        Ok(())
    }

    async fn equivocate_in_turn(&self) -> Result<(), CutOff> {
        let (mut session, known) = self.join(self.node).await?;
        let (a, b) = self.two_faced(&known, 1, 1)?;
        let first = self.offer(&mut session, &[a]).await?;
        let second = self.offer(&mut session, &[b]).await?;
        self.judge_two_faced((first, second));
        Ok(())
    }

    /// Both nodes log a version of the first operations; the node that is later also logs some that
    /// go on beyond where the earlier version ends, and has to wait for what then fills the gap.
    async fn equivocate_pending(&self) -> Result<(), CutOff> {
        let (mut here, mut there, known) = self.join_both().await?;
        let peer = self.ids.peer();
        let (mut one, mut other) = (self.forge(&known, peer)?, self.forge(&known, peer)?);
        let (first, filler) = (self.write(&mut one, 1)?, self.write(&mut one, 1)?);
        let (void, later) = (self.write(&mut other, 2)?, self.write(&mut other, 1)?);
        if later.span.start != filler.span.end {
            // The numbers of the tokens got longer in between.
            return Ok(());
        }
        // Whoever has sent enough harmless updates flies with all that gathers while a flight is under
        // way.
        let mut decoy = self.forge(&known, self.ids.peer())?;
        let decoys: Result<Vec<_>, _> = (0..STANDING_TOGETHER_MIN)
            .map(|_| self.write(&mut decoy, 1))
            .collect();
        self.offer(&mut there, &decoys?).await?;
        let decoy = [self.write(&mut decoy, 1)?];
        self.submit(&mut there, &decoy).await?;
        self.submit(&mut there, &[void]).await?;
        let later = self.submit(&mut there, &[later]).await?;
        self.submit(&mut here, &[first]).await?;
        tokio::time::sleep(Duration::from_millis(self.random.below(2_000))).await;
        let filler = self.submit(&mut here, &[filler]).await?;
        let filler = here.answer(&self.history, &self.trace, filler).await;
        let later = there.answer(&self.history, &self.trace, later).await;
        if (filler, later) == (Answer::Acked, Answer::Acked) {
            self.history
                .met("a gap in a peer's logged operations was filled");
        }
        Ok(())
    }

    async fn leave_a_gap(&self) -> Result<(), CutOff> {
        let (mut session, known) = self.join(self.node).await?;
        let mut writer = self.forge(&known, self.ids.peer())?;
        let (first, second) = (self.write(&mut writer, 1)?, self.write(&mut writer, 1)?);
        let second = self.submit(&mut session, &[second]).await?;
        tokio::time::sleep(Duration::from_millis(self.random.below(7_000))).await;
        let first = self.submit(&mut session, &[first]).await?;
        let first = session.answer(&self.history, &self.trace, first).await;
        let second = session.answer(&self.history, &self.trace, second).await;
        match (first, second) {
            (_, Answer::Acked) => self.history.met("a gap was filled in time"),
            (_, Answer::Refused(_)) => self.history.met("a gap was open for too long"),
            _ => {}
        }
        Ok(())
    }

    async fn dangle(&self) -> Result<(), CutOff> {
        let (mut session, known) = self.join(self.node).await?;
        let mut unseen = self.forge(&known, self.ids.peer())?;
        self.write(&mut unseen, 1)?;
        let mut writer = self.forge(&unseen.document, self.ids.peer())?;
        let batch = [self.write(&mut writer, 1)?];
        match self.offer(&mut session, &batch).await? {
            Answer::Acked => self
                .history
                .violation(format!("{} builds on nothing, and is safe", batch[0].span)),
            Answer::Refused(_) => self.history.met("a dangling update was refused"),
            Answer::None => {}
        }
        Ok(())
    }

    async fn malform(&self) -> Result<(), CutOff> {
        let (mut session, known) = self.join(self.node).await?;
        let whole = {
            let writer = CrdtDocument::new(self.ids.peer())?;
            writer.import(&known.export_snapshot()?)?;
            writer.insert_text(CONTENT, 0, "<0>")?;
            writer.take_local_update()?.ok_or(CutOff)?
        };
        let below = |bound: usize| usize::try_from(self.random.below(bound as u64)).unwrap_or(0);
        let update = match self.random.below(5) {
            0 => Bytes::new(),
            1 => whole.slice(..below(whole.len())),
            2 => known.export_snapshot()?,
            3 => {
                let mut noise = vec![0; below(300)];
                self.random.fill(&mut noise);
                noise.into()
            }
            _ => {
                let mut flipped = whole.to_vec();
                flipped[below(whole.len())] ^= 1 << self.random.below(8);
                flipped.into()
            }
        };
        match self.offer_bytes(&mut session, update).await? {
            Answer::Acked => self
                .history
                .violation("malformed bytes are safe".to_owned()),
            Answer::Refused(_) => self.history.met("malformed bytes were refused"),
            Answer::None => {}
        }
        Ok(())
    }

    /// The bytes are an update of a container that nobody else uses; whatever it does now, all
    /// replicas do the same.
    async fn mutate(&self) -> Result<(), CutOff> {
        let (mut session, known) = self.join(self.node).await?;
        let writer = CrdtDocument::from_snapshot(&known.export_snapshot()?, self.ids.peer())?;
        for key in ["one", "two", "three"] {
            writer.set_map_text("mallory", key, &self.random.next_u64().to_string())?;
        }
        let whole = writer.take_local_update()?.ok_or(CutOff)?;
        for _ in 0..MUTANTS {
            let mut mutant = whole.to_vec();
            for _ in 0..=self.random.below(3) {
                let changeable = mutant.len() as u64 - UPDATE_HEADER_BYTES as u64;
                let at = usize::try_from(self.random.below(changeable)).unwrap_or(0);
                mutant[UPDATE_HEADER_BYTES + at] ^= 1 << self.random.below(8);
            }
            let checksum = xxh32(&mutant[CHECKED_FROM..], CHECKSUM_SEED);
            mutant[CHECKSUM_AT..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
            match self.offer_bytes(&mut session, mutant.into()).await? {
                Answer::Acked => self.history.met("a mutant was let in"),
                Answer::Refused(_) => self.history.met("a mutant was refused"),
                Answer::None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Somebody who sends harmful updates loses the session each time, and soon may not write at all.
    async fn harm(&self) -> Result<(), CutOff> {
        let principal = self.principal()?;
        for attempt in 0..=HARMFUL_UPDATES_MAX {
            let (mut session, known) = self.join_as(self.node, principal.clone()).await?;
            let writer = CrdtDocument::from_snapshot(&known.export_snapshot()?, self.ids.peer())?;
            writer.set_map_text("mallory", "harm", trial::SLOW)?;
            let update = writer.take_local_update()?.ok_or(CutOff)?;
            match self.offer_bytes(&mut session, update).await? {
                Answer::Acked => self
                    .history
                    .violation("a harmful update is safe".to_owned()),
                Answer::Refused(ErrorCode::Suspended) if attempt > 0 => {
                    self.history.met("somebody was suspended");
                }
                Answer::Refused(_) => self.history.met("a harmful update was refused"),
                Answer::None => {}
            }
        }
        Ok(())
    }

    async fn mix(&self) -> Result<(), CutOff> {
        let (mut session, known) = self.join(self.node).await?;
        let mut writer = self.forge(&known, self.ids.peer())?;
        let sound = self.write(&mut writer, 1)?;
        let mut thief = self.forge(&known, self.victim.peer())?;
        let stolen = self.write(&mut thief, 1)?;
        if let Answer::Refused(_) = self.offer(&mut session, &[sound, stolen]).await? {
            self.history
                .met("a batch that was sound in part was refused");
        }
        Ok(())
    }

    async fn be_deaf(&self) -> Result<(), CutOff> {
        let (mut session, known) = self.join(self.node).await?;
        let mut writer = self.forge(&known, self.ids.peer())?;
        let offer = self.write(&mut writer, 1)?;
        for _ in 0..DEAF_BATCHES {
            self.submit(&mut session, std::slice::from_ref(&offer))
                .await?;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        while let Some(batch) = session.open.keys().next().copied() {
            session.answer(&self.history, &self.trace, batch).await;
        }
        Ok(())
    }

    /// A replica of the document as the attacker knows it, that writes as `peer`.
    fn forge(&self, known: &CrdtDocument, peer: PeerId) -> Result<Forged, CutOff> {
        let document = CrdtDocument::from_snapshot(&known.export_snapshot()?, peer)?;
        let end = document.version()?.end(peer);
        let line = self
            .history
            .line(&self.victim.document, "mallory", peer, Honesty::Hostile);
        Ok(Forged {
            document,
            peer,
            line,
            end,
        })
    }

    /// Writes `count` tokens, as one update.
    fn write(&self, forged: &mut Forged, count: usize) -> Result<Offer, CutOff> {
        let start = forged.end;
        for _ in 0..count {
            let token = self.history.token();
            forged
                .document
                .insert_text(CONTENT, 0, &token.to_string())?;
            forged.document.commit()?;
            let end = forged.document.version()?.end(forged.peer);
            let span = CounterSpan {
                peer: forged.peer,
                start: forged.end,
                end,
            };
            let edit = Edit {
                span,
                inserted: Some(token),
                deleted: Vec::new(),
            };
            self.history.edited(forged.line, edit);
            forged.end = end;
        }
        let span = CounterSpan {
            peer: forged.peer,
            start,
            end: forged.end,
        };
        Ok(Offer {
            line: forged.line,
            span,
            bytes: forged.document.export_spans(&[span])?,
        })
    }
}
