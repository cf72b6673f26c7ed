//! Updates whose bytes were changed and whose checksum was made right again, in their thousands.
//!
//! `HOSTILE_MUTANTS=1000000 cargo test -p crdt-document --test hostile -- --nocapture` runs longer and
//! prints what it found; `HOSTILE_SEED` starts elsewhere. `HOSTILE_UNINSPECTED=1` also shows the engine
//! what inspection refuses, to see what it would have done; sooner or later it aborts the process.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crdt_document::{CrdtDocument, CrdtError, inspect, quiet_guarded_panics};
use document_types::{PeerId, VersionVector};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use support::{Editors, seal, updates_since};

const NOW_MS: u64 = 4_000_000_000_000;

#[allow(clippy::disallowed_methods)] // Whoever runs it longer says so.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// A document, and honest updates that follow it.
struct Ground {
    snapshot: Vec<u8>,
    known: VersionVector,
    updates: Vec<Vec<u8>>,
}

impl Ground {
    fn new(seed: u64) -> Self {
        let mut editors = Editors::new(seed, 3);
        editors.run(30);
        editors.meet();
        let base = editors.docs[0].clone();
        let snapshot = base.export(loro::ExportMode::Snapshot).unwrap();
        let known = CrdtDocument::from_snapshot(&snapshot, PeerId(1))
            .unwrap()
            .version()
            .unwrap();
        let base_vector = base.oplog_vv();
        editors.updates.clear();
        // Each follows the base by itself.
        let updates = (0..12)
            .map(|_| {
                let fork = base.fork();
                fork.set_peer_id(editors.rng.random_range(1..1_000))
                    .unwrap();
                for _ in 0..editors.rng.random_range(1..12) {
                    support::edit(&fork, &mut editors.rng);
                }
                fork.commit();
                updates_since(&fork, &base_vector)
            })
            .filter(|update| update.len() > 22)
            .collect();
        Self {
            snapshot,
            known,
            updates,
        }
    }
}

/// Changes a few bytes within a block, and makes the block's length and the checksum right again.
fn mutate(update: &[u8], rng: &mut SmallRng) -> Vec<u8> {
    let (envelope, body) = update.split_at(22);
    let prefix = body.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let mut block = body[prefix..].to_vec();
    for _ in 0..rng.random_range(1..=5) {
        let at = rng.random_range(0..block.len());
        match rng.random_range(0..10) {
            0..4 => block[at] = rng.random(),
            4..6 => block[at] ^= 1 << rng.random_range(0..8),
            6 => block[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            7 => block.insert(at, rng.random()),
            8 if block.len() > 1 => drop(block.remove(at)),
            _ => block[at] = block[at].wrapping_add(1),
        }
    }
    let mut mutant = envelope.to_vec();
    let mut len = block.len();
    while len >= 0x80 {
        mutant.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    mutant.push(u8::try_from(len).unwrap());
    mutant.extend(block);
    seal(&mut mutant);
    mutant
}

#[derive(Default, Debug)]
struct Found {
    mutants: u64,
    inspected: u64,
    harmful: u64,
    harmful_inspected: u64,
    slowest: Duration,
    panics: BTreeMap<String, u64>,
}

/// What a client does with an update: it imports it, and then reads and writes.
fn use_as_a_client(ground: &Ground, mutant: &[u8]) -> Result<(), CrdtError> {
    let document = CrdtDocument::from_snapshot(&ground.snapshot, PeerId(1))?;
    let before = document.state_hash()?;
    match document.import(mutant) {
        Err(CrdtError::Refused(_)) => {
            assert_eq!(
                document.state_hash()?,
                before,
                "a refused import changed the state"
            );
            return Ok(());
        }
        outcome => drop(outcome?),
    }
    document.state_hash()?;
    document.deep_value_json()?;
    document.insert_text("content", 0, "after")?;
    document.commit()?;
    let snapshot = document.export_snapshot()?;
    let reloaded = CrdtDocument::from_snapshot(&snapshot, PeerId(2))?;
    reloaded.state_hash()?;
    Ok(())
}

#[allow(clippy::disallowed_methods)] // It prints how slow the slowest was, and may keep what it finds.
fn campaign(seed: u64, count: u64) -> Found {
    let mut found = Found::default();
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut ground = Ground::new(seed);
    let uninspected = setting("HOSTILE_UNINSPECTED", 0) == 1;
    while found.mutants < count {
        if found.mutants % 2_000 == 1_999 {
            ground = Ground::new(rng.random());
        }
        let update = &ground.updates[rng.random_range(0..ground.updates.len())];
        let mutant = mutate(update, &mut rng);
        found.mutants += 1;
        let passes = inspect(&mutant, NOW_MS)
            .is_ok_and(|inspected| inspected.missing(&ground.known).is_none());
        found.inspected += u64::from(passes);
        if !passes && !uninspected {
            continue;
        }
        let start = Instant::now();
        let harm = match use_as_a_client(&ground, &mutant) {
            Err(CrdtError::Panicked { place }) => Some(place),
            Err(CrdtError::TooDeep { .. }) => Some("too deep".to_owned()),
            Err(CrdtError::Refused(error)) => Some(format!("refused later: {error}")),
            _ if start.elapsed() > Duration::from_secs(1) => Some("slow".to_owned()),
            _ => None,
        };
        found.slowest = found.slowest.max(start.elapsed());
        if let Some(harm) = harm {
            found.harmful += 1;
            if passes {
                found.harmful_inspected += 1;
                if let Ok(folder) = std::env::var("HOSTILE_KEEP") {
                    keep(&folder, &harm, &ground, &mutant);
                }
                *found.panics.entry(harm).or_default() += 1;
            }
        }
    }
    found
}

/// Keeps one harmful mutant of each kind that inspection lets through, with the document that it
/// follows.
fn keep(folder: &str, harm: &str, ground: &Ground, mutant: &[u8]) {
    let name = harm.replace(['/', ':', ' ', '.'], "-");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(format!("{folder}/{name}.snapshot"), &ground.snapshot).unwrap();
    std::fs::write(format!("{folder}/{name}.update"), mutant).unwrap();
}

#[test]
fn mutants_never_abort_nor_change_a_document_that_refuses_them() {
    quiet_guarded_panics();
    let found = campaign(
        setting("HOSTILE_SEED", 1),
        setting("HOSTILE_MUTANTS", 6_000),
    );
    println!("{found:#?}");
    assert!(found.inspected > 0, "inspection must not refuse everything");
    assert!(
        found.harmful > 0,
        "the campaign has to meet what it is about"
    );
    // What remains needs the document to be seen: positions beyond its end, elements that it lacks.
    assert!(
        found.harmful_inspected * 100 < found.mutants,
        "inspection lets too much through"
    );
}
