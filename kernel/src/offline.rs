//! Work on an image that no kernel has open: `kernel verify`, `kernel reindex`, `kernel restore`, `kernel exercise`; and a look at one
//! that a kernel has open: `kernel rehearse`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::Context;
use clap::Subcommand;
use shared::bridge::ImageFault;
use shared::json::to_hex;
use shared::{document, exit};

use crate::image::branch::Known;
use crate::image::digest::hex;
use crate::image::exercise::{Upkeep, exercise};
use crate::image::inspection::{crash, in_own_process, look_through};
use crate::image::reindex::reindex;
use crate::image::restore::{Present, restore};
use crate::image::segment::FORMAT;
use crate::image::verify::{Chains, Report, verify};
use crate::image::{Image, OpenError, doubt, take_lock};
use crate::mind::audit::file::check;
use crate::mind::audit::otlp;
use crate::rehearsal::rehearse;
use crate::reporter::Reporter;

/// What can be done without serving.
#[derive(Subcommand)]
pub enum Offline {
    /// Open the image as a start would and name every fault; exit code 1 when there is one
    Verify {
        /// The folder image/ of a home
        #[arg(long)]
        image: PathBuf,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Tell how far it is, one JSON document a line, on standard error
        #[arg(long)]
        progress: bool,
        /// Tell the chain hash after every transaction, too
        #[arg(long)]
        chains: bool,
        /// Do it in this process, which a damaged index can end
        #[arg(long, hide = true)]
        here: bool,
        /// Tell this fault of the index, too
        #[arg(long, hide = true)]
        known: Option<String>,
    },
    /// Look whether this kernel could take over from the one that serves this image and has frozen its index; changes nothing
    Rehearse {
        /// The folder image/ of a home
        #[arg(long)]
        image: PathBuf,
    },
    /// Make the image one of that format; this kernel writes one format alone
    Convert {
        /// The folder image/ of a home
        #[arg(long)]
        image: PathBuf,
        /// The number of the format
        #[arg(long)]
        to: u32,
    },
    /// Make the index anew from the log
    Reindex {
        /// The folder image/ of a home
        #[arg(long)]
        image: PathBuf,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Tell how far it is, one JSON document a line, on standard error
        #[arg(long)]
        progress: bool,
    },
    /// Put the image of a backup where none is, checked first
    Restore {
        /// The folder image/ of a home
        #[arg(long)]
        image: PathBuf,
        /// The backup's folder
        #[arg(long)]
        from: PathBuf,
        /// Move an image that is there aside
        #[arg(long)]
        replace: bool,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Tell how far it is, one JSON document a line, on standard error
        #[arg(long)]
        progress: bool,
    },
    /// Walk the stream of consciousness, while a kernel writes to it or not; exit code 1 when its chain is broken
    Thoughts {
        /// The folder audit/ of a home
        #[arg(long)]
        audit: PathBuf,
        /// Print OTLP/JSON traces instead, one document a line
        #[arg(long)]
        otlp: bool,
        /// Print one JSON document
        #[arg(long, conflicts_with = "otlp")]
        json: bool,
    },
    /// Commit random transactions and tell each when it is durable; for tests, on an image of its own
    Exercise {
        /// The folder image/ of a home that is only for this
        #[arg(long)]
        image: PathBuf,
        #[arg(long)]
        transactions: u64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Keep contents, and pack now and then
        #[arg(long)]
        packs: bool,
        /// Do something in branches now and then
        #[arg(long)]
        branches: bool,
        /// Back up into this folder now and then
        #[arg(long)]
        backup: Option<PathBuf>,
    },
}

impl Offline {
    /// Does it; the error says what is wrong with the folder.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Offline::Verify {
                here: false, image, ..
            } => verify_apart(image),
            Offline::Verify {
                image,
                json,
                chains,
                known,
                progress,
                ..
            } => {
                let chains = if *chains { Chains::Told } else { Chains::Untold };
                let report = verify_here(image, chains, known.clone(), &reporter(*progress))?;
                tell(&report, *json);
                Ok(ExitCode::from(if report.found.faults.is_empty() {
                    exit::ANSWERED
                } else {
                    exit::ERROR
                }))
            }
            Offline::Rehearse { image } => {
                let found = rehearse(image)?;
                println!("{found}");
                Ok(ExitCode::from(exit::ANSWERED))
            }
            Offline::Convert { image, to } => {
                anyhow::ensure!(
                    *to == FORMAT,
                    "this kernel writes format {FORMAT}, and format {to} was asked for"
                );
                // An image of another format, older or newer, is refused here with its number.
                let image = Image::open(image)?;
                let last = image.state.standing().last.0;
                image.close();
                println!(
                    "{}",
                    serde_json::json!({ "ok": true, "format": FORMAT, "last": last })
                );
                Ok(ExitCode::from(exit::ANSWERED))
            }
            Offline::Reindex {
                image,
                json,
                progress,
            } => {
                let _lock = take_lock(image)?;
                let digest = hex(&reindex(image, &reporter(*progress))?);
                match json {
                    true => println!("{}", serde_json::json!({"ok": true, "digest": digest})),
                    false => println!("the index is new; digest {digest}"),
                }
                Ok(ExitCode::from(exit::ANSWERED))
            }
            Offline::Restore {
                image,
                from,
                replace,
                json,
                progress,
            } => {
                let present = if *replace {
                    Present::MoveAside
                } else {
                    Present::Refuse
                };
                let restored = restore(from, image, present, &reporter(*progress))?;
                let manifest = &restored.manifest;
                let aside = restored.aside.as_ref().map(|aside| aside.display().to_string());
                match json {
                    true => println!(
                        "{}",
                        serde_json::json!({
                            "ok": true,
                            "image": manifest.image,
                            "last": manifest.last,
                            "unix_ms": manifest.unix_ms,
                            "bytes": manifest.bytes(),
                            "blobs": manifest.blobs.len(),
                            "damaged": manifest.damaged,
                            "moved_aside": aside,
                        })
                    ),
                    false => println!("restored as of transaction {}", manifest.last),
                }
                Ok(ExitCode::from(exit::ANSWERED))
            }
            Offline::Thoughts {
                audit, otlp: true, ..
            } => {
                let mut out = std::io::stdout().lock();
                match otlp::export(audit, &mut out) {
                    // Whoever reads has seen enough.
                    Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                    exported => drop(exported.with_context(|| audit.display().to_string())?),
                }
                Ok(ExitCode::from(exit::ANSWERED))
            }
            Offline::Thoughts { audit, json, .. } => {
                let (lines, chain, faults) = check(audit).with_context(|| audit.display().to_string())?;
                match json {
                    true => println!(
                        "{}",
                        serde_json::json!({
                            "ok": faults.is_empty(),
                            "lines": lines,
                            "last": chain.sequence,
                            "hash": chain.hash,
                            "faults": faults,
                        })
                    ),
                    false => {
                        faults.iter().for_each(|fault| println!("{fault}"));
                        println!(
                            "{} faults in {lines} lines; the last is {} with hash {}",
                            faults.len(),
                            chain.sequence,
                            chain.hash
                        );
                    }
                }
                Ok(ExitCode::from(if faults.is_empty() {
                    exit::ANSWERED
                } else {
                    exit::ERROR
                }))
            }
            Offline::Exercise {
                image,
                transactions,
                seed,
                packs,
                branches,
                backup,
            } => {
                let image = Image::open(image)?;
                let out = Mutex::new(std::io::stdout());
                let upkeep = Upkeep {
                    packs: *packs,
                    backup: backup.clone(),
                    branches: *branches,
                };
                exercise(&image, *transactions, *seed, &upkeep, &out).map_err(anyhow::Error::msg)?;
                image.close();
                Ok(ExitCode::from(exit::ANSWERED))
            }
        }
    }
}

/// For the program that waits for this one.
fn reporter(is_wanted: bool) -> Reporter {
    match is_wanted {
        true => Reporter::new(|progress| eprintln!("{}", document::progress(&progress))),
        false => Reporter::silent(),
    }
}

/// Has another process verify the image with the same arguments; where the index ends that one, a second one does it with an index
/// that is made anew.
fn verify_apart(image: &Path) -> anyhow::Result<ExitCode> {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    arguments.push("--here".into());
    let mut status = in_own_process(&arguments)?;
    let index = image.join("index");
    let crash = crash(status);
    if crash.is_some() {
        doubt::mark(&index);
    }
    if doubt::is_marked(&index) {
        let what = match crash {
            Some(signal) => format!("it ends the program that opens it by {signal}"),
            None => "it cannot be read".to_owned(),
        };
        arguments.extend(["--known".into(), what.into()]);
        status = in_own_process(&arguments)?;
    }
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) => Ok(ExitCode::from(code)),
        None => anyhow::bail!("the verification was ended: {status}"),
    }
}

/// Verifies, as a start would open it. An index that cannot be read is named, and set aside as a start would.
fn verify_here(
    folder: &Path,
    chains: Chains,
    known: Option<String>,
    reporter: &Reporter,
) -> anyhow::Result<Report> {
    let lock = take_lock(folder)?;
    let mut unreadable = known;
    if unreadable.is_none()
        && let Err(error) = look_through(folder)
    {
        unreadable = Some(error.to_string());
        doubt::mark(&folder.join("index"));
    }
    let image = Image::open_locked(folder, Some(lock))?;
    let found = image.found;
    let branches = branches(&image);
    let verified = verify(&image, folder, &folder.join("verify"), chains, reporter);
    if verified.as_ref().is_err_and(OpenError::is_damaged_index) {
        // Damage that no look at the tables came upon, but what the opening wrote: whoever waits for this process has another index made.
        doubt::mark(&folder.join("index"));
    }
    let mut report = verified?;
    image.close();
    report.branches = branches;
    // The opening has added a transaction of its own, which nobody asked about.
    report.found.last = found.transaction;
    report.found.chain = hex(&found.chain);
    if let Some(what) = unreadable {
        report.found.faults.push(ImageFault {
            place: folder.join("index/data.mdb").display().to_string(),
            what: format!("{what}; it is index.damaged now, and another was made from the log"),
        });
    }
    Ok(report)
}

/// How many sends the branches hold that can be used, by their ids.
fn branches(image: &Image) -> BTreeMap<String, u64> {
    let list = image.branches.list().into_iter();
    let sends = list.filter_map(|(_, known)| match known {
        Known::Open(branch) => Some((to_hex(&branch.header.id), branch.counts().0)),
        Known::Damaged(_) => None,
    });
    sends.collect()
}

fn tell(report: &Report, json: bool) {
    let found = &report.found;
    if json {
        let mut told = document::verification(found);
        told["branches"] = serde_json::json!(report.branches);
        if let Some(chains) = &report.chains {
            told["chains"] = serde_json::json!(chains);
        }
        println!("{told}");
        return;
    }
    for fault in &found.faults {
        println!("{}: {}", fault.place, fault.what);
    }
    println!(
        "{} faults; transaction {}, {} objects, {} entries, digest {}",
        found.faults.len() as u64 + found.more_faults,
        found.last,
        found.objects,
        found.entries,
        found.digest
    );
}
