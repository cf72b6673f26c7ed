//! How a plan is drawn from a seed.

use clock::Random;

use super::{ATTACKS, AttackKind, ClientPlan, EDITS_MIN, Event, Header, NODES, Plan, Step};

/// Draws a plan. Which faults there are at all is drawn once for the run, so that seeds meet them
/// alone, together, rarely and often.
pub(super) struct Draw {
    random: Random,
    header: Header,
    steps: Vec<Step>,
    /// How long the run takes, before it heals.
    length_ms: u64,
}

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        let random = Random::from_seed(seed);
        let documents = if random.chance(0.3) { 2 } else { 1 };
        let client_count = 3 + pick(&random, 3) + documents - 1;
        let clients = (0..client_count)
            .map(|client| ClientPlan {
                document: client % documents,
                node: pick(&random, NODES),
                stock: random.chance(0.3),
            })
            .collect();
        let header = Header {
            seed,
            partitions: if random.chance(0.5) { 1 } else { 3 },
            documents,
            clients,
        };
        let length_ms = 4_000 + random.below(16_000);
        Self {
            random,
            header,
            steps: Vec::new(),
            length_ms,
        }
    }

    pub(super) fn plan(mut self) -> Plan {
        self.edits();
        self.clients_come_and_go();
        self.nodes();
        self.mergers();
        self.clocks();
        self.log();
        self.store();
        self.trials();
        self.attacks();
        self.pastes();
        self.silence();
        self.steps.sort_by_key(|step| step.at_ms);
        Plan {
            header: self.header,
            steps: self.steps,
        }
    }

    fn add(&mut self, at_ms: u64, event: Event) {
        self.steps.push(Step { at_ms, event });
    }

    fn time(&self) -> u64 {
        self.random.below(self.length_ms)
    }

    fn client(&self) -> usize {
        pick(&self.random, self.header.clients.len())
    }

    fn place(&self) -> u32 {
        u32::try_from(self.random.below(1 << 32)).unwrap_or(0)
    }

    /// How often something happens in this run: not at all in half of them.
    fn times(&self, most: u64) -> u64 {
        if self.random.chance(0.5) {
            1 + self.random.below(most)
        } else {
            0
        }
    }

    fn edits(&mut self) {
        let deletes = 0.1 + 0.3 * (self.random.below(100) as f64 / 100.0);
        let longest = 1 + self.random.below(6);
        let mut edits = 0;
        while edits < EDITS_MIN {
            let (at_ms, client, place) = (self.time(), self.client(), self.place());
            if self.random.chance(deletes) {
                let count = 1 + u32::try_from(self.random.below(3)).unwrap_or(0);
                self.add(
                    at_ms,
                    Event::Delete {
                        client,
                        place,
                        count,
                    },
                );
                edits += 1;
            } else {
                let count = 1 + self.random.below(longest);
                edits += count;
                let count = u32::try_from(count).unwrap_or(1);
                self.add(
                    at_ms,
                    Event::Insert {
                        client,
                        place,
                        count,
                    },
                );
            }
        }
    }

    fn clients_come_and_go(&mut self) {
        for client in 0..self.header.clients.len() {
            let at_ms = if self.random.chance(0.2) {
                self.time() / 2
            } else {
                0
            };
            self.add(at_ms, Event::Online { client });
        }
        for _ in 0..self.times(6) {
            let (at_ms, client) = (self.time(), self.client());
            self.add(at_ms, Event::Offline { client });
            self.add(at_ms + self.random.below(4_000), Event::Online { client });
        }
        for _ in 0..self.times(12) {
            let (at_ms, client, node) = (self.time(), self.client(), pick(&self.random, NODES));
            self.add(at_ms, Event::Move { client, node });
        }
        for _ in 0..self.times(6) {
            let (at_ms, client, ms) = (self.time(), self.client(), self.random.below(5_000));
            self.add(at_ms, Event::Pause { client, ms });
        }
        if self.random.chance(0.3) {
            let (at_ms, client) = (self.time(), self.client());
            self.add(at_ms, Event::Keep { client });
            self.add(at_ms + self.random.below(4_000), Event::SetBack { client });
        }
    }

    fn nodes(&mut self) {
        for node in 0..NODES {
            self.add(0, Event::StartNode { node });
        }
        for _ in 0..self.times(5) {
            let (at_ms, node) = (self.time(), pick(&self.random, NODES));
            let drains = self.random.chance(0.25);
            self.add(
                at_ms,
                if drains {
                    Event::DrainNode { node }
                } else {
                    Event::CrashNode { node }
                },
            );
            self.add(at_ms + self.random.below(3_000), Event::StartNode { node });
        }
    }

    fn mergers(&mut self) {
        self.add(0, Event::StartMerger);
        for _ in 0..self.times(4) {
            let at_ms = self.time();
            // The old one may still be there for a while, or be gone before the new one comes.
            let (start, crash) = (self.random.below(2_000), self.random.below(2_000));
            self.add(at_ms + start, Event::StartMerger);
            self.add(at_ms + crash, Event::CrashMerger);
        }
        for _ in 0..self.times(12) {
            let (at_ms, document) = (self.time(), pick(&self.random, self.header.documents));
            let ms = self.random.below(1_500);
            self.add(at_ms, Event::Fold { document, ms });
        }
    }

    fn clocks(&mut self) {
        for _ in 0..self.times(5) {
            let (at_ms, machine) = (self.time(), pick(&self.random, NODES + 1));
            let most = if self.random.chance(0.5) {
                800
            } else {
                3_600_000
            };
            let ms = i64::try_from(self.random.below(2 * most)).unwrap_or(0)
                - i64::try_from(most).unwrap_or(0);
            self.add(at_ms, Event::JumpClock { machine, ms });
        }
    }

    fn log(&mut self) {
        if self.random.chance(0.7) {
            self.add(
                0,
                Event::LogWeather {
                    seed: self.random.next_u64(),
                },
            );
        }
        for _ in 0..self.times(2) {
            let at_ms = self.time();
            self.add(at_ms, Event::LogDown);
            let seed = self.random.next_u64();
            self.add(at_ms + self.random.below(1_500), Event::LogWeather { seed });
        }
    }

    fn store(&mut self) {
        let weather = |random: &Random| Event::StoreWeather {
            per_thousand: u32::try_from(random.below(150)).unwrap_or(0),
        };
        if self.random.chance(0.7) {
            let event = weather(&self.random);
            self.add(0, event);
        }
        for _ in 0..self.times(2) {
            let at_ms = self.time();
            self.add(at_ms, Event::StoreDown);
            let event = weather(&self.random);
            self.add(at_ms + self.random.below(2_500), event);
        }
    }

    fn trials(&mut self) {
        if self.random.chance(0.3) {
            let per_thousand = u32::try_from(self.random.below(100)).unwrap_or(0);
            self.add(0, Event::TrialWeather { per_thousand });
        }
    }

    fn attacks(&mut self) {
        for _ in 0..self.times(6) {
            let kind = ATTACKS[pick(&self.random, ATTACKS.len())];
            let at_ms = if kind == AttackKind::StolenPeer {
                0
            } else {
                self.time()
            };
            let (node, client) = (pick(&self.random, NODES), self.client());
            let seed = self.random.next_u64();
            self.add(
                at_ms,
                Event::Attack {
                    kind,
                    node,
                    client,
                    seed,
                },
            );
        }
    }

    /// A long text, of which a part may be logged before the rest. So it is left out where somebody
    /// may leave the rest unsent for good.
    fn pastes(&mut self) {
        let may_give_up = |step: &Step| {
            matches!(
                step.event,
                Event::SetBack { .. }
                    | Event::Attack {
                        kind: AttackKind::StolenPeer,
                        ..
                    }
            )
        };
        if self.random.chance(0.95) || self.steps.iter().any(may_give_up) {
            return;
        }
        let (at_ms, client, place) = (self.time(), self.client(), self.place());
        let len = 16_000 + pick(&self.random, 4_000);
        self.add(at_ms, Event::Paste { client, place, len });
    }

    /// In some runs everybody is silent for minutes: rooms close, and old changes are folded.
    fn silence(&mut self) {
        if !self.random.chance(0.2) {
            return;
        }
        let (begin, long) = (self.time(), 330_000 + self.random.below(60_000));
        for step in &mut self.steps {
            if step.at_ms >= begin {
                step.at_ms += long;
            }
        }
        if self.random.chance(0.5) {
            for client in 0..self.header.clients.len() {
                self.add(begin, Event::Offline { client });
                self.add(begin + long, Event::Online { client });
            }
        }
    }
}

fn pick(random: &Random, count: usize) -> usize {
    usize::try_from(random.below(count as u64)).unwrap_or(0)
}
