//! The ways in which a branch's file can be other than it was written, and what packs, backups and ends of kernels do to it.

use std::fs;
use std::path::Path;

use shared::bridge::Answer;
use shared::id::{ClientId, ObjectId, TransactionId};
use shared::key::Key;
use shared::value::{BlobRef, Value};

use super::*;
use crate::image::Image;
use crate::image::backup::backup;
use crate::image::pack::pack;
use crate::image::restore::{Present, restore};
use crate::image::verify::{Chains, Report, verify};
use crate::overlay::World;
use crate::reporter::Reporter;

/// As the kernel does it, in one thread.
pub(super) fn commit_branch(image: &Image, name: &str) -> Result<TransactionId, CommitError> {
    let branches = &image.branches;
    let branch = branches.find(name).unwrap();
    let draft = branches
        .committing(&branch, "test".into(), None, committed(name))
        .unwrap();
    match image.committer.commit_blocking(draft) {
        Ok(committed) => {
            branches.drop(name).unwrap();
            Ok(committed.transaction)
        }
        Err(error) => {
            branches.keep(&branch).unwrap();
            Err(error)
        }
    }
}

/// What `verify` finds in an image, without the chains.
pub(super) fn verified(image: &Image, folder: &Path) -> Report {
    verify(
        image,
        folder,
        &folder.join("verify"),
        Chains::Untold,
        &Reporter::silent(),
    )
    .unwrap()
}

fn committed(name: &str) -> impl FnOnce(u64, u64) -> Answer {
    let name = name.to_owned();
    move |sends, objects| Answer::BranchCommitted {
        name,
        sends,
        objects,
        transaction: TransactionId(0),
    }
}

pub(super) fn key(at: i64) -> Key {
    Key::of(&Value::Int(at)).unwrap()
}

fn put(object: ObjectId, slot: &str, value: Value) -> Change {
    Change::Put {
        object,
        slot: slot.into(),
        value,
    }
}

/// An image with a lobby, and a branch that has changed it.
fn with_branch(folder: &Path) -> Image {
    let image = Image::open(folder).unwrap();
    let lobby = image.state.allocate();
    let mut draft = Draft::new("test");
    draft.changes.push(Change::Create {
        object: lobby,
        slots: vec![("a".into(), Value::Int(1))],
    });
    image.committer.commit_blocking(draft).unwrap();
    image.branches.begin("b", "test", None).unwrap();
    change(&image, vec![put(lobby, "a", Value::Int(2))]).unwrap();
    image
}

fn change(image: &Image, changes: Vec<Change>) -> Result<(), BranchError> {
    let branch = image.branches.find("b")?;
    let mut view = branch.turn.blocking_lock();
    view.refresh(&image.state, &branch).unwrap();
    image
        .branches
        .change(&branch, &mut view, "test", Vec::new(), changes, None)
}

fn seen(image: &Image, object: ObjectId, slot: &str) -> Option<Value> {
    let branch = image.branches.find("b").unwrap();
    let mut view = branch.turn.blocking_lock();
    view.refresh(&image.state, &branch).unwrap();
    let world = World::over(&image.state, view.overlay());
    let (object, _) = world.object(object)?;
    object.slot(slot).map(|slot| slot.value.clone())
}

fn file(folder: &Path) -> PathBuf {
    folder.join("branches/b.branch")
}

const LOBBY: ObjectId = ObjectId::LOBBY;

/// A file cut anywhere is the branch up to its last whole record; one with a flipped byte before that is damaged, and can be dropped.
#[test]
fn a_torn_end_is_cut_off_and_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    let first = fs::metadata(file(folder.path())).unwrap().len() as usize;
    change(&image, vec![put(LOBBY, "a", Value::Int(3))]).unwrap();
    drop(image);
    let whole = fs::read(file(folder.path())).unwrap();
    for length in (first..whole.len()).step_by(7).chain([whole.len() - 1]) {
        fs::write(file(folder.path()), &whole[..length]).unwrap();
        let image = Image::open(folder.path()).unwrap();
        assert_eq!(seen(&image, LOBBY, "a"), Some(Value::Int(2)), "{length} bytes");
        // What is added next stands where the torn record stood.
        change(&image, vec![put(LOBBY, "a", Value::Int(4))]).unwrap();
        drop(image);
        let image = Image::open(folder.path()).unwrap();
        assert_eq!(seen(&image, LOBBY, "a"), Some(Value::Int(4)), "{length} bytes");
    }
    for at in (0..first).step_by(5) {
        // Bytes of the header that mean nothing are covered by its checksum as well.
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(file(folder.path()), &flipped).unwrap();
        let image = Image::open(folder.path()).unwrap();
        let error = image
            .branches
            .find("b")
            .err()
            .unwrap_or_else(|| panic!("byte {at}"));
        assert!(matches!(error, BranchError::Damaged { .. }), "byte {at}: {error}");
        let report = verified(&image, folder.path());
        assert!(report.found.faults[0].place.ends_with("b.branch"), "byte {at}");
        assert_eq!(
            report.found.faults.len(),
            1,
            "byte {at}: {:?}",
            report.found.faults
        );
    }
    let image = Image::open(folder.path()).unwrap();
    image.branches.drop("b").unwrap();
    assert!(!file(folder.path()).exists());
    assert!(image.branches.list().is_empty());
}

/// A byte that flips under a running kernel is found by a verification, which changes nothing.
#[test]
fn verify_reads_the_files_anew() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    let mut bytes = fs::read(file(folder.path())).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    fs::write(file(folder.path()), &bytes).unwrap();
    let report = verified(&image, folder.path());
    assert_eq!(report.found.faults.len(), 1, "{:?}", report.found.faults);
    assert_eq!(fs::read(file(folder.path())).unwrap(), bytes);
}

/// Between the commit and the removal of the file the kernel is killed: the branch is not committed a second time.
#[test]
fn a_commit_that_was_cut_off_is_settled_by_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    let add = Change::AddEntry {
        object: LOBBY,
        key: key(1),
        amount: Value::Int(5),
    };
    change(&image, vec![add]).unwrap();
    // The intent is durable, the commit did not come to be.
    let branch = image.branches.find("b").unwrap();
    let draft = image
        .branches
        .committing(&branch, "t".into(), None, committed("b"))
        .unwrap();
    drop((image, branch));
    let image = Image::open(folder.path()).unwrap();
    assert_eq!(seen(&image, LOBBY, "a"), Some(Value::Int(2)));
    assert_eq!(image.state.entry(LOBBY, &key(1)), None);
    let branch = image.branches.find("b").unwrap();
    image
        .branches
        .committing(&branch, "t".into(), None, committed("b"))
        .unwrap();
    image.committer.commit_blocking(draft).unwrap();
    drop((image, branch));
    let image = Image::open(folder.path()).unwrap();
    assert!(image.branches.list().is_empty() && !file(folder.path()).exists());
    assert_eq!(image.state.entry(LOBBY, &key(1)).unwrap().value, Value::Int(5));
    assert_eq!(
        image.state.object(LOBBY).unwrap().slot("a").unwrap().value,
        Value::Int(2)
    );
}

/// The same, and the image was packed in between.
#[test]
fn a_commit_that_was_cut_off_is_settled_after_a_pack() {
    for is_committed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let image = with_branch(folder.path());
        let branch = image.branches.find("b").unwrap();
        let draft = image
            .branches
            .committing(&branch, "t".into(), None, committed("b"))
            .unwrap();
        if is_committed {
            image.committer.commit_blocking(draft).unwrap();
        }
        for _ in 0..3 {
            image.committer.commit_blocking(Draft::new("test")).unwrap();
        }
        pack(&image, folder.path(), &Reporter::silent()).unwrap();
        drop((image, branch));
        let image = Image::open(folder.path()).unwrap();
        assert_eq!(image.branches.list().len(), usize::from(!is_committed));
        if !is_committed {
            assert_eq!(seen(&image, LOBBY, "a"), Some(Value::Int(2)));
        }
    }
}

/// Nothing was committed after an object was made in a branch: its id is taken all the same.
#[test]
fn ids_of_a_branch_are_never_given_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    let made = image.state.allocate();
    let create = Change::Create {
        object: made,
        slots: Vec::new(),
    };
    change(&image, vec![create, put(LOBBY, "made", Value::Ref(made))]).unwrap();
    drop(image);
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    let image = Image::open(folder.path()).unwrap();
    let next = image.state.allocate();
    assert!(next > made, "{next} {made}");
    assert_eq!(image.state.object(made), None);
    commit_branch(&image, "b").unwrap();
    assert!(image.state.object(made).is_some());
}

/// What only a branch refers to, and a content that only a branch names, outlive a pack; dropped, they go with the next.
#[test]
fn a_pack_keeps_what_a_branch_needs() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    let loose = image.state.allocate();
    let inner = image.state.allocate();
    let mut draft = Draft::new("test");
    draft.changes = vec![
        Change::Create {
            object: inner,
            slots: Vec::new(),
        },
        Change::Create {
            object: loose,
            slots: vec![("inner".into(), Value::Ref(inner))],
        },
    ];
    image.committer.commit_blocking(draft).unwrap();
    let mut upload = image.state.blobs.begin().unwrap();
    upload.write(b"a content").unwrap();
    let blob: BlobRef = image.state.blobs.keep(upload).unwrap();
    let path = image.state.blobs.path(&blob.digest);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    let age = || {
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(old)
            .unwrap()
    };
    age();
    let changes = vec![
        put(LOBBY, "to", Value::Ref(loose)),
        put(LOBBY, "film", Value::Blob(blob)),
    ];
    change(&image, changes).unwrap();
    let packed = pack(&image, folder.path(), &Reporter::silent()).unwrap();
    assert_eq!(packed.collected, 0);
    assert!(image.state.object(inner).is_some() && path.exists());
    drop(image);
    let image = Image::open(folder.path()).unwrap();
    assert_eq!(seen(&image, LOBBY, "to"), Some(Value::Ref(loose)));
    image.branches.drop("b").unwrap();
    age();
    let packed = pack(&image, folder.path(), &Reporter::silent()).unwrap();
    assert_eq!(packed.collected, 2);
    assert!(image.state.object(inner).is_none() && !path.exists());
}

#[test]
fn a_backup_brings_branches_back() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(&folder.path().join("image"));
    let to = folder.path().join("backup");
    backup(&image, &to, &Reporter::silent()).unwrap();
    change(&image, vec![put(LOBBY, "a", Value::Int(7))]).unwrap();
    backup(&image, &to, &Reporter::silent()).unwrap();
    assert_eq!(backup(&image, &to, &Reporter::silent()).unwrap().copied_bytes, 0);
    let restored = folder.path().join("restored");
    restore(&to, &restored, Present::Refuse, &Reporter::silent()).unwrap();
    let again = Image::open(&restored).unwrap();
    assert_eq!(seen(&again, LOBBY, "a"), Some(Value::Int(7)));
    commit_branch(&again, "b").unwrap();
    assert_eq!(
        again.state.object(LOBBY).unwrap().slot("a").unwrap().value,
        Value::Int(7)
    );
    // The image itself has not moved; a branch of another image is none of its.
    assert_eq!(seen(&image, LOBBY, "a"), Some(Value::Int(7)));
    image.branches.drop("b").unwrap();
    backup(&image, &to, &Reporter::silent()).unwrap();
    assert_eq!(fs::read_dir(to.join("branches")).unwrap().count(), 0);
}

/// Another kernel opened the image (its lock lost): what this one would add is refused and not written.
#[test]
fn a_retired_kernel_adds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    let mut fence = EpochFile::open(folder.path()).unwrap();
    fence.raise(image.state.epoch()).unwrap();
    let before = fs::read(file(folder.path())).unwrap();
    let error = change(&image, vec![put(LOBBY, "a", Value::Int(9))]).unwrap_err();
    assert!(matches!(error, BranchError::Retired(_)), "{error}");
    assert!(matches!(image.branches.drop("b"), Err(BranchError::Retired(_))));
    assert!(matches!(
        image.branches.begin("c", "t", None),
        Err(BranchError::Retired(_))
    ));
    assert_eq!(fs::read(file(folder.path())).unwrap(), before);
    assert_eq!(seen(&image, LOBBY, "a"), Some(Value::Int(2)));
}

#[test]
fn names_and_numbers_are_bounded() {
    let long = "x".repeat(65);
    for bad in [
        "", "main", ".", "..", "a/b", "a.b", "-a", "_a", "ä", "a b", "a\0", &long,
    ] {
        assert!(!is_branch_name(bad), "{bad:?}");
    }
    for good in ["a", "what_if", "9-lives", &long[1..]] {
        assert!(is_branch_name(good), "{good:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let image = with_branch(folder.path());
    assert!(matches!(
        image.branches.begin("b", "t", None),
        Err(BranchError::Exists(_))
    ));
    assert!(matches!(
        image.branches.begin("../b", "t", None),
        Err(BranchError::Name(_))
    ));
    assert!(matches!(image.branches.find("../b"), Err(BranchError::Name(_))));
    assert!(matches!(image.branches.drop("nobody"), Err(BranchError::None(_))));
    for number in 1..MOST {
        image.branches.begin(&format!("b{number}"), "t", None).unwrap();
    }
    assert!(matches!(
        image.branches.begin("more", "t", None),
        Err(BranchError::TooMany)
    ));
    // A branch that is full refuses, and is as it was.
    let large = |n: u8| put(LOBBY, "large", Value::Bytes(vec![n; 12 << 20]));
    change(&image, vec![large(1)]).unwrap();
    change(&image, vec![large(2)]).unwrap();
    assert!(matches!(change(&image, vec![large(3)]), Err(BranchError::Full)));
    assert_eq!(
        seen(&image, LOBBY, "large"),
        Some(Value::Bytes(vec![2; 12 << 20]))
    );
    commit_branch(&image, "b").unwrap();
}

/// A sum depends on the image as soon as it is looked at, and not before.
#[test]
fn a_sum_that_was_looked_at_is_a_read() {
    for is_looked_at in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let image = with_branch(folder.path());
        let add = |amount| Change::AddEntry {
            object: LOBBY,
            key: key(1),
            amount: Value::Int(amount),
        };
        change(&image, vec![add(5)]).unwrap();
        let branch = image.branches.find("b").unwrap();
        let mut view = branch.turn.blocking_lock();
        view.refresh(&image.state, &branch).unwrap();
        let world = World::over(&image.state, view.overlay());
        let mut reads = Vec::new();
        if is_looked_at {
            assert_eq!(world.entry(LOBBY, &key(1), &mut reads), Some(Value::Int(5)));
        }
        let changes = vec![put(LOBBY, "sum", Value::Int(5))];
        image
            .branches
            .change(&branch, &mut view, "t", reads, changes, None)
            .unwrap();
        let mut draft = Draft::new("test");
        draft.changes.push(add(1));
        image.committer.commit_blocking(draft).unwrap();
        let conflicts = branch.conflicts(&image.state);
        assert_eq!(conflicts.is_empty(), !is_looked_at, "{conflicts:?}");
        drop(view);
        assert_eq!(commit_branch(&image, "b").is_ok(), !is_looked_at);
    }
}

/// The same request begins a branch once.
#[test]
fn a_repeated_beginning_finds_the_branch() {
    let folder = tempfile::tempdir().unwrap();
    let request = Some(RequestId {
        client: ClientId([7; 16]),
        sequence: 3,
    });
    let image = Image::open(folder.path()).unwrap();
    let first = image.branches.begin("b", "t", request).unwrap().header;
    drop(image);
    let image = Image::open(folder.path()).unwrap();
    assert_eq!(image.branches.begin("b", "t", request).unwrap().header, first);
    assert!(image.branches.begin("b", "t", None).is_err());
}
