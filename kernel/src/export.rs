//! Export: a part of the image as readable text, one [`crate::description`] an object, as of one moment.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::activation::{Read, ReadSlot, ScanOrder};
use shared::bridge::{Answer, Fault, Unit};
use shared::id::{ObjectId, TransactionId};
use shared::json::to_hex;
use shared::key::Key;
use shared::reason;
use shared::value::{BlobRef, Value};

use crate::description::{Description, write};
use crate::image::backup::{CopyError, copy_blob};
use crate::image::blob::relative_path;
use crate::image::log::unix_ms;
use crate::kernel::{Asker, Kernel, commit_fault};
use crate::names::known_names;
use crate::overlay::World;
use crate::reporter::Reporter;
use crate::transfers;

/// Raised when an export changes incompatibly.
pub const FORMAT: u32 = 1;
/// Others can change what is being read; then it is read again, so many times.
const ROUNDS: u32 = 10;

/// What an export says about itself: `manifest.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportManifest {
    /// `batos export`, so that nobody takes it for another manifest.
    pub kind: String,
    pub format: u32,
    /// The image's id, in hexadecimal: `ref("#12")` means something in this one alone.
    pub image: String,
    /// The newest transaction that is in it.
    pub last: u64,
    pub unix_ms: u64,
    /// Names of the objects that it was made of.
    pub roots: Vec<String>,
    /// Names of all objects. `a.b` lies in `a/b.py`.
    pub objects: Vec<String>,
    pub blobs: Vec<ExportedBlob>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedBlob {
    pub digest: String,
    pub bytes: u64,
}

pub const KIND: &str = "batos export";

/// Where the description of an object lies.
pub fn file_of(name: &str) -> PathBuf {
    PathBuf::from(format!("{}.py", name.replace('.', "/")))
}

impl Kernel {
    /// Writes objects, and what their slots and entries reach, into a folder that is new or empty. What stands in the lobby is
    /// only named, unless it was asked for.
    pub async fn export(
        self: &Arc<Self>,
        asker: Asker,
        objects: Vec<String>,
        depth: Option<u32>,
        folder: String,
    ) -> Result<Answer, Fault> {
        let kernel = self.clone();
        let work = move || kernel.export_now(&objects, depth, Path::new(&folder), &asker.reporter);
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(Fault::new(reason::INTERNAL, error.to_string())))
    }

    fn export_now(
        &self,
        objects: &[String],
        depth: Option<u32>,
        folder: &Path,
        reporter: &Reporter,
    ) -> Result<Answer, Fault> {
        check_folder(folder)?;
        if objects.is_empty() {
            return Err(Fault::new(reason::BAD_ARGUMENT, "name at least one object"));
        }
        let mut roots = Vec::new();
        for name in objects {
            let root = self.resolve(name)?;
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        let mut round = 1;
        let part = loop {
            let mut part = self.gather(&roots, depth, reporter)?;
            match self.image.committer.validate(&std::mem::take(&mut part.reads)) {
                Ok(()) => break part,
                Err(changed) if round == ROUNDS => return Err(commit_fault(changed)),
                Err(_) => round += 1,
            }
        };
        let manifest = self.manifest(&roots, &part);
        let written = self.write_out(folder, &manifest, &part, reporter);
        written.map_err(|failed| match failed {
            Failed::Fault(fault) => fault,
            Failed::Io(error) => Fault::new(
                reason::BAD_ARGUMENT,
                format!("{} cannot be written: {error}", folder.display()),
            ),
        })?;
        Ok(Answer::Exported {
            folder: folder.display().to_string(),
            last: TransactionId(manifest.last),
            objects: manifest.objects.len() as u64,
            blobs: manifest.blobs.len() as u64,
        })
    }

    /// Reads the objects, nearest first.
    fn gather(&self, roots: &[ObjectId], depth: Option<u32>, reporter: &Reporter) -> Result<Part, Fault> {
        let state = &self.image.state;
        let mut part = Part {
            last: state.standing().last,
            names: known_names(state),
            ..Part::default()
        };
        let world = World { state, overlay: None };
        reporter.begin("reading the objects", Unit::Objects, None);
        let mut met: HashSet<ObjectId> = roots.iter().copied().collect();
        let mut waiting: VecDeque<(ObjectId, u32)> = roots.iter().map(|root| (*root, 0)).collect();
        while let Some((id, distance)) = waiting.pop_front() {
            let object = state
                .object(id)
                .ok_or_else(|| Fault::new(reason::NO_OBJECT, format!("{id} does not exist")))?;
            part.reads.push(Read {
                object: id,
                slot: ReadSlot::Whole(object.version),
            });
            let (first, last) = (Key::first(), Key::last());
            let (entries, _) = world.scan(id, first, last, usize::MAX, ScanOrder::Ascending, &mut part.reads);
            let slots = object.slots.iter();
            let description = Description {
                slots: slots
                    .map(|slot| (slot.name.clone(), slot.value.clone()))
                    .collect(),
                entries,
            };
            let mut visit = |value: &Value| {
                value.each_blob(&mut |blob| {
                    part.blobs.insert(*blob);
                });
                value.each_reference(&mut |to| {
                    let is_near = depth.is_none_or(|depth| distance < depth);
                    if is_near && !part.names.contains_key(&to) && met.insert(to) {
                        waiting.push_back((to, distance + 1));
                    }
                });
            };
            description.slots.iter().for_each(|(_, value)| visit(value));
            for (key, value) in &description.entries {
                let key = key.value().ok_or_else(|| {
                    Fault::new(
                        reason::IMAGE_FAILED,
                        format!("an entry of {id} has no key that can be read"),
                    )
                })?;
                visit(&key);
                visit(value);
            }
            part.objects.push((id, description));
            reporter.add(1);
        }
        // Names for those that have none in the lobby, and that no slot of the lobby has.
        let mut taken: HashSet<String> = part.names.values().cloned().collect();
        for (id, _) in &part.objects {
            if !part.names.contains_key(id) {
                let mut name = format!("object_{}", id.0);
                while !taken.insert(name.clone()) {
                    name.push('_');
                }
                part.names.insert(*id, name);
            }
        }
        Ok(part)
    }

    fn manifest(&self, roots: &[ObjectId], part: &Part) -> ExportManifest {
        let mut blobs: Vec<BlobRef> = part.blobs.iter().copied().collect();
        blobs.sort_unstable();
        let named = |id: &ObjectId| part.name(*id);
        ExportManifest {
            kind: KIND.into(),
            format: FORMAT,
            image: to_hex(&self.image.id),
            last: part.last.0,
            unix_ms: unix_ms(),
            roots: roots.iter().map(named).collect(),
            objects: part.objects.iter().map(|(id, _)| part.name(*id)).collect(),
            blobs: blobs
                .iter()
                .map(|blob| ExportedBlob {
                    digest: to_hex(&blob.digest),
                    bytes: blob.bytes,
                })
                .collect(),
        }
    }

    /// Everything aside first: the folder appears whole.
    fn write_out(
        &self,
        folder: &Path,
        manifest: &ExportManifest,
        part: &Part,
        reporter: &Reporter,
    ) -> Result<(), Failed> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let aside = folder.with_file_name(format!(".{name}.{}", unix_ms()));
        let written = self.write_into(&aside, manifest, part, reporter).and_then(|()| {
            fs::rename(&aside, folder)?;
            let parent = folder.parent().unwrap_or(Path::new("/"));
            Ok(File::open(parent)?.sync_all()?)
        });
        if written.is_err() {
            let _ = fs::remove_dir_all(&aside);
        }
        written
    }

    fn write_into(
        &self,
        aside: &Path,
        manifest: &ExportManifest,
        part: &Part,
        reporter: &Reporter,
    ) -> Result<(), Failed> {
        make_folder(aside)?;
        let objects = part.objects.len() as u64;
        reporter.begin("writing the objects", Unit::Objects, Some(objects));
        for (id, description) in &part.objects {
            let path = aside.join(file_of(&part.name(*id)));
            make_folder(path.parent().unwrap_or(aside))?;
            let text = write(description, &|id| part.name(id));
            write_file(&path, text.as_bytes())?;
            reporter.add(1);
        }
        let bytes = part.blobs.iter().map(|blob| blob.bytes).sum();
        reporter.begin("writing the contents", Unit::Bytes, Some(bytes));
        for blob in &part.blobs {
            let target = aside.join("blobs").join(relative_path(&blob.digest));
            make_folder(target.parent().unwrap_or(aside))?;
            let source = self.image.state.blobs.path(&blob.digest);
            copy_blob(&source, &blob.digest, &aside.join("blobs/new"), &target, reporter).map_err(
                |error| match error {
                    CopyError::Blob(error) => Failed::Fault(transfers::fault(&error)),
                    CopyError::Target(error) => Failed::Io(error),
                },
            )?;
        }
        let text = serde_json::to_string_pretty(manifest).map_err(io::Error::from)?;
        write_file(&aside.join("manifest.json"), format!("{text}\n").as_bytes())?;
        Ok(())
    }
}

/// What is exported.
#[derive(Default)]
struct Part {
    last: TransactionId,
    objects: Vec<(ObjectId, Description)>,
    /// Of what is inside, and of what stands in the lobby.
    names: HashMap<ObjectId, String>,
    blobs: HashSet<BlobRef>,
    reads: Vec<Read>,
}

impl Part {
    fn name(&self, id: ObjectId) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }
}

enum Failed {
    Fault(Fault),
    Io(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Io(error)
    }
}

/// An absolute path of nothing yet, or of an empty folder.
fn check_folder(folder: &Path) -> Result<(), Fault> {
    let refused = |what: String| Err(Fault::new(reason::BAD_ARGUMENT, what));
    if !folder.is_absolute() || folder.file_name().is_none() {
        return refused(format!("{} is no absolute path of a folder", folder.display()));
    }
    match fs::read_dir(folder).map(|mut inside| inside.next().is_some()) {
        Ok(true) => refused(format!("{} is not empty; name a new folder", folder.display())),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => refused(format!("{}: {error}", folder.display())),
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
