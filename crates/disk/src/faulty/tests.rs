use std::sync::Arc;

use super::*;

const SECTOR: usize = 512;

fn honest(seed: u64) -> FaultyDiskOptions {
    FaultyDiskOptions {
        tear_chance: 0.0,
        ..FaultyDiskOptions::new(seed)
    }
}

fn read_all(file: &Arc<dyn DiskFile>) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

/// A disk with the file `a`, whose name is durable.
fn disk_with_file(root: &Path, options: FaultyDiskOptions) -> (FaultyDisk, Arc<dyn DiskFile>) {
    let disk = FaultyDisk::open(root, options).unwrap();
    let file = disk.create("a").unwrap();
    disk.sync_directory().unwrap();
    (disk, file)
}

#[test]
fn the_real_file_gets_nothing_before_a_sync_and_everything_by_it() {
    let root = tempfile::tempdir().unwrap();
    let (_disk, file) = disk_with_file(root.path(), honest(1));
    file.write_at(3, b"unsynced").unwrap();
    assert_eq!(read_all(&file), b"\0\0\0unsynced");
    // What another process would find if this one were killed here.
    assert_eq!(fs::read(root.path().join("a")).unwrap(), b"");
    file.sync_data().unwrap();
    assert_eq!(fs::read(root.path().join("a")).unwrap(), b"\0\0\0unsynced");
}

#[test]
fn a_crash_keeps_what_was_synced_and_any_sectors_of_what_was_not() {
    let (mut kept_none, mut kept_some, mut kept_all) = (0, 0, 0);
    for seed in 0..200 {
        let root = tempfile::tempdir().unwrap();
        let (disk, file) = disk_with_file(root.path(), honest(seed));
        file.write_at(0, &[1; SECTOR]).unwrap();
        file.sync_data().unwrap();
        file.write_at(SECTOR as u64, &[2; 8 * SECTOR]).unwrap();
        disk.crash().unwrap();

        let bytes = read_all(&disk.open("a").unwrap());
        assert_eq!(bytes[..SECTOR], [1; SECTOR], "synced bytes stay");
        for sector in bytes[SECTOR..].chunks(SECTOR) {
            assert!(
                sector == [0; SECTOR] || sector == [2; SECTOR],
                "sectors are whole"
            );
        }
        match bytes[SECTOR..]
            .chunks(SECTOR)
            .filter(|sector| sector[0] == 2)
            .count()
        {
            0 => kept_none += 1,
            8 => kept_all += 1,
            _ => kept_some += 1,
        }
        assert!(
            file.write_at(0, b"ghost").is_err(),
            "a file from before the crash is dead"
        );
    }
    assert!(
        kept_none > 10 && kept_some > 10 && kept_all > 10,
        "every kind of crash happens"
    );
}

#[test]
fn a_write_may_be_torn_while_the_process_lives() {
    let torn_count = (0..100)
        .filter(|seed| {
            let root = tempfile::tempdir().unwrap();
            let options = FaultyDiskOptions {
                tear_chance: 1.0,
                ..FaultyDiskOptions::new(*seed)
            };
            let (_disk, file) = disk_with_file(root.path(), options);
            file.write_at(0, &[1; 4 * SECTOR]).unwrap();
            let real = fs::read(root.path().join("a")).unwrap();
            real.contains(&1) && real != [1; 4 * SECTOR]
        })
        .count();
    assert!(torn_count > 10, "{torn_count} of 100 writes were torn");
}

#[test]
fn names_are_durable_once_the_directory_is_synced() {
    let (mut kept_count, seeds) = (0_u64, 50);
    for seed in 0..seeds {
        let root = tempfile::tempdir().unwrap();
        let (disk, file) = disk_with_file(root.path(), honest(seed));
        file.write_at(0, b"old").unwrap();
        file.sync_data().unwrap();
        let new = disk.create("b").unwrap();
        new.write_at(0, b"new").unwrap();
        new.sync_data().unwrap();
        disk.rename("b", "a").unwrap();
        assert_eq!(disk.list().unwrap(), ["a"]);
        disk.crash().unwrap();

        let found = read_all(&disk.open("a").unwrap());
        assert!(found == b"old" || found == b"new");
        kept_count += u64::from(found == b"new");

        disk.remove("a").unwrap();
        disk.sync_directory().unwrap();
        disk.crash().unwrap();
        assert_eq!(disk.open("a").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
    assert!(
        0 < kept_count && kept_count < seeds,
        "a rename is lost sometimes, and not always"
    );
}

#[test]
fn bytes_that_a_cut_took_away_stay_away() {
    let root = tempfile::tempdir().unwrap();
    let (_disk, file) = disk_with_file(root.path(), honest(1));
    file.write_at(0, &[1; 2 * SECTOR]).unwrap();
    file.sync_data().unwrap();
    file.set_len(10).unwrap();
    file.set_len(SECTOR as u64).unwrap();
    let expected = [vec![1; 10], vec![0; SECTOR - 10]].concat();
    assert_eq!(read_all(&file), expected);
    file.sync_data().unwrap();
    assert_eq!(read_all(&file), expected);
    assert_eq!(fs::read(root.path().join("a")).unwrap(), expected);
}

#[test]
fn after_a_failed_sync_reads_show_what_no_later_sync_writes() {
    let root = tempfile::tempdir().unwrap();
    let (disk, file) = disk_with_file(root.path(), honest(3));
    disk.fail_sync_after(1);
    file.sync_data().unwrap();
    file.write_at(0, &[1; 64 * SECTOR]).unwrap();
    assert!(file.sync_data().is_err());
    assert!(
        file.sync_data().is_ok(),
        "the second call answers Ok, and lies"
    );
    assert_eq!(read_all(&file), [1; 64 * SECTOR]);
    let real = fs::read(root.path().join("a")).unwrap();
    assert!(
        real.len() < 64 * SECTOR || real.contains(&0),
        "bytes are lost"
    );
}

#[test]
fn a_lying_disk_loses_what_it_said_was_synced() {
    let root = tempfile::tempdir().unwrap();
    let (disk, file) = disk_with_file(root.path(), honest(1));
    disk.set_lies_about_syncs(true);
    file.write_at(0, b"gone").unwrap();
    file.sync_data().unwrap();
    assert_eq!(fs::read(root.path().join("a")).unwrap(), b"");
}

#[test]
fn a_full_disk_refuses_growth_only() {
    let root = tempfile::tempdir().unwrap();
    let (disk, file) = disk_with_file(root.path(), honest(1));
    file.write_at(0, b"1234").unwrap();
    disk.set_full(true);
    file.write_at(0, b"abcd").unwrap();
    assert_eq!(
        file.write_at(4, b"5").unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    assert_eq!(
        file.set_len(9).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
}

#[test]
fn it_reads_like_a_real_disk_whatever_is_written() {
    let (real_root, faulty_root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let real_disk = crate::RealDisk::open(real_root.path()).unwrap();
    let faulty_disk = FaultyDisk::open(faulty_root.path(), FaultyDiskOptions::new(9)).unwrap();
    let (real, faulty) = (
        real_disk.create("a").unwrap(),
        faulty_disk.create("a").unwrap(),
    );
    let mut random = SmallRng::seed_from_u64(7);
    for step in 0..2_000_u32 {
        let at = random.random_range(0..5_000);
        match random.random_range(0..8) {
            0 => {
                real.set_len(at).unwrap();
                faulty.set_len(at).unwrap();
            }
            1 => faulty.sync_data().unwrap(),
            _ => {
                let bytes = vec![step.to_le_bytes()[0]; random.random_range(0..1_500)];
                real.write_at(at, &bytes).unwrap();
                faulty.write_at(at, &bytes).unwrap();
            }
        }
        assert_eq!(read_all(&real), read_all(&faulty), "after step {step}");
    }
}
