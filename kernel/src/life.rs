//! The life of a kernel that serves, or that stands by until it is told to (`docs/handover.md`): one loop over signals and the
//! control channel.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use interprocess::local_socket::tokio::Listener;
use shared::activation::Mode;
use shared::bridge::{Answer, Call, Fault};
use shared::handover::{FromKernel, ToKernel};
use shared::home::Home;
use shared::id::Epoch;
use shared::reason;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedMutexGuard, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet, block_in_place};

use crate::bridge::{self, Course};
use crate::edit::inspected;
use crate::handover::{Channel, Heard};
use crate::image::standby::{Followed, Standby};
use crate::image::state::State;
use crate::image::{Image, OpenError};
use crate::kernel::{Asker, Kernel};
use crate::mind::Mind;
use crate::mind::audit::Audit;
use crate::mind::audit::event::Prompts;
use crate::mind::genesis;
use crate::mind::model::Model;
use crate::names::resolve;
use crate::overlay::World;
use crate::transfers::Transfers;
use crate::workers::{Activation, Environment, News, Workers};

/// The log has no way to tell that it grew; a standby looks this often.
const FOLLOWING: Duration = Duration::from_millis(5);
/// How long a promotion waits for the former kernel's lock.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// The same for a kernel that has yielded and whose steward is gone.
const LONE_PATIENCE: Duration = Duration::from_secs(1);

/// So many messages warm the workers, in so long at most.
const STRETCHES: usize = 16;
const STRETCHING: Duration = Duration::from_secs(1);

/// What a kernel keeps while it changes between serving and standing by.
pub struct Life {
    pub home: Home,
    pub inference_socket: PathBuf,
    pub install_refused: bool,
    pub audit_prompts: Prompts,
    pub workers: Arc<Workers>,
    /// What becomes of changes of workers.
    pub news: mpsc::UnboundedReceiver<News>,
    pub channel: Channel,
    /// A duplicate of the listening socket that the steward passed.
    pub listening: Option<OwnedFd>,
}

/// What a kernel begins with.
pub enum Beginning {
    Open(Box<Image>),
    Beside(Standby),
}

enum Phase {
    Serving(Serving),
    Standing(Standing),
    /// The process is to end.
    Over,
}

/// A kernel that holds the image and answers.
struct Serving {
    kernel: Arc<Kernel>,
    course: watch::Sender<Course>,
    /// Gives the listener back at its end.
    bridge: JoinHandle<Listener>,
    index: Index,
}

/// Whether another kernel may read the index.
enum Index {
    Moving,
    Freezing(JoinHandle<Result<OwnedMutexGuard<()>, String>>),
    /// No upkeep begins while this is held.
    Frozen {
        _turn: Option<OwnedMutexGuard<()>>,
    },
}

/// A kernel that follows another one.
struct Standing {
    standby: Standby,
    listener: Listener,
    /// The epoch in which it served, if it has.
    former: Option<Epoch>,
    is_warm: bool,
}

enum Happened {
    Told(Heard),
    Frozen(Result<OwnedMutexGuard<()>, String>),
    Warm,
    Time,
    Stop,
}

impl Life {
    /// Lives until a signal, or until there is nothing to stand by for. The workers are warming.
    pub async fn live(mut self, beginning: Beginning, listener: Listener) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        self.channel.greet().await;
        let mut phase = match beginning {
            Beginning::Open(image) => Phase::Serving(self.serve(*image, listener).await?),
            Beginning::Beside(standby) => Phase::Standing(Standing {
                standby,
                listener,
                former: None,
                is_warm: false,
            }),
        };
        loop {
            let workers = self.workers.clone();
            let happened = tokio::select! {
                _ = terminate.recv() => Happened::Stop,
                _ = interrupt.recv() => Happened::Stop,
                heard = self.channel.hear() => Happened::Told(heard),
                Some(news) = self.news.recv() => {
                    self.tell(news).await;
                    continue;
                }
                happened = phase.next(&workers) => happened,
            };
            phase = match phase {
                Phase::Serving(serving) => self.while_serving(serving, happened).await?,
                Phase::Standing(standing) => self.while_standing(standing, happened).await?,
                Phase::Over => return Ok(()),
            };
            if matches!(phase, Phase::Over) {
                return Ok(());
            }
        }
    }

    async fn while_serving(&mut self, mut serving: Serving, happened: Happened) -> anyhow::Result<Phase> {
        match happened {
            Happened::Stop => {
                tracing::info!("draining");
                serving.stop().await;
                tracing::info!("closed");
                return Ok(Phase::Over);
            }
            Happened::Told(Heard::Message(ToKernel::Prepare)) => match serving.index {
                Index::Moving => {
                    serving.index = Index::Freezing(tokio::spawn(serving.kernel.clone().freeze()))
                }
                Index::Freezing(_) => {}
                Index::Frozen { .. } => self.channel.say(&serving.prepared()).await,
            },
            Happened::Frozen(Ok(guard)) => {
                serving.index = Index::Frozen { _turn: Some(guard) };
                self.channel.say(&serving.prepared()).await;
            }
            Happened::Frozen(Err(message)) => {
                serving.settle();
                self.channel.say(&FromKernel::Refused { message }).await;
            }
            Happened::Told(Heard::Message(ToKernel::Yield { finish_ms })) => match serving.index {
                Index::Frozen { .. } => return self.give_up(serving, Duration::from_millis(finish_ms)).await,
                _ => self.refuse("only a kernel that is prepared can yield").await,
            },
            Happened::Told(Heard::Message(ToKernel::Promote)) => {
                self.refuse("this kernel serves already").await
            }
            Happened::Told(Heard::Message(ToKernel::Settle)) => serving.settle(),
            Happened::Told(Heard::Message(ToKernel::Ask { question, call })) => {
                let result = serving.answer(call).await;
                self.channel.say(&FromKernel::Answered { question, result }).await;
            }
            Happened::Told(Heard::Message(ToKernel::Lend)) => self.lend().await,
            Happened::Told(Heard::Message(ToKernel::Workers { program, environment })) => {
                let environment = environment.map(|environment| Environment {
                    packages: environment.packages.into(),
                    allow: environment.allow,
                });
                self.workers.replace(program.into(), environment);
            }
            Happened::Told(Heard::Message(ToKernel::KeepWorkers)) => self.workers.keep(),
            Happened::Told(Heard::Message(ToKernel::RestoreWorkers)) => {
                self.workers.restore("the steward asks for it");
            }
            Happened::Told(Heard::Ended) => {
                tracing::warn!("the steward is gone; this kernel serves on");
                self.workers.restore("the steward is gone");
                serving.settle();
            }
            Happened::Told(Heard::Adopted) => {
                self.channel.greet().await;
                self.channel.say(&serving.serving()).await;
            }
            Happened::Warm | Happened::Time => {}
        }
        Ok(Phase::Serving(serving))
    }

    async fn while_standing(&mut self, mut standing: Standing, happened: Happened) -> anyhow::Result<Phase> {
        match happened {
            Happened::Stop => return Ok(Phase::Over),
            Happened::Time => standing.follow()?,
            Happened::Warm => {
                self.stretch(standing.standby.state()).await;
                standing.follow()?;
                standing.is_warm = true;
                let last = standing.standby.last();
                self.channel.say(&FromKernel::Warm { last }).await;
            }
            Happened::Told(Heard::Message(ToKernel::Promote)) => {
                return self.take_over(standing, LOCK_PATIENCE).await;
            }
            Happened::Told(Heard::Message(ToKernel::Ask { question, call })) => {
                let result = match call {
                    Call::Inspect { object } => inspected(World::of(standing.standby.state()), &object),
                    _ => Err(unasked()),
                };
                self.channel.say(&FromKernel::Answered { question, result }).await;
            }
            Happened::Told(Heard::Message(ToKernel::Lend)) => self.lend().await,
            // It has nothing to let move.
            Happened::Told(Heard::Message(ToKernel::Settle)) => {}
            Happened::Told(Heard::Message(
                ToKernel::Prepare
                | ToKernel::Yield { .. }
                | ToKernel::Workers { .. }
                | ToKernel::KeepWorkers
                | ToKernel::RestoreWorkers,
            )) => {
                self.refuse("this kernel does not serve").await;
            }
            Happened::Told(Heard::Ended) => return self.stand_alone(standing).await,
            Happened::Told(Heard::Adopted) => self.channel.greet().await,
            Happened::Frozen(_) => {}
        }
        Ok(Phase::Standing(standing))
    }

    /// Lets the workers carry out something that changes nothing, so that a client's message is not the first of their lives, and
    /// makes what the promotion asks for.
    async fn stretch(&self, state: &Arc<State>) {
        genesis::digest();
        let mut runs = JoinSet::new();
        for _ in 0..STRETCHES {
            let (workers, state) = (self.workers.clone(), state.clone());
            runs.spawn(async move {
                let world = World::of(&state);
                let Ok(receiver) = resolve(world, "ordered_map") else {
                    return;
                };
                let way = world.way(receiver, "size");
                let activation = Activation {
                    receiver,
                    selector: "size".to_owned(),
                    arguments: Vec::new(),
                    mode: Mode::Proven,
                    deadline: workers.deadline(),
                };
                // What comes of it is nothing to anybody.
                drop(workers.run(world, way.chain, activation).await);
            });
        }
        let stretched = async { while runs.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STRETCHING, stretched).await;
    }

    /// Nobody will promote a standby any more. One that has served serves again, unless another kernel holds the image.
    async fn stand_alone(&mut self, standing: Standing) -> anyhow::Result<Phase> {
        let Some(former) = standing.former else {
            tracing::info!("the steward is gone, and this kernel never served: it ends");
            return Ok(Phase::Over);
        };
        tracing::warn!("the steward is gone in the middle of a handover");
        match self.take_over(standing, LONE_PATIENCE).await {
            Err(error) if matches!(error.downcast_ref(), Some(OpenError::InUse(_))) => {
                tracing::info!(%former, "another kernel has taken over: this one ends");
                Ok(Phase::Over)
            }
            Ok(Phase::Serving(mut serving)) => {
                serving.settle();
                Ok(Phase::Serving(serving))
            }
            other => other,
        }
    }

    /// Opens the image for writing and serves.
    async fn take_over(&mut self, standing: Standing, patience: Duration) -> anyhow::Result<Phase> {
        let image = block_in_place(|| standing.standby.promote(patience))?;
        let mut serving = self.serve(image, standing.listener).await?;
        let turn = serving.kernel.hold_upkeep();
        serving.index = Index::Frozen { _turn: turn };
        Ok(Phase::Serving(serving))
    }

    async fn serve(&mut self, image: Image, listener: Listener) -> anyhow::Result<Serving> {
        let audit = Audit::open(&self.home.audit(), self.audit_prompts)?;
        let model = Model::new(self.inference_socket.clone());
        let mind = Mind::new(model, audit, &image.state.missions());
        let kernel = Kernel::new(image, self.workers.clone(), mind, self.install_refused);
        if let Err(error) = kernel.renew().await {
            // The image goes on as it is; the next start tries again.
            tracing::error!(%error, "what this program's genesis has more than the image's was not brought in");
        }
        let (course, taken) = watch::channel(Course::Serving);
        let bridge = tokio::spawn(bridge::serve(kernel.clone(), listener, taken));
        kernel.resume_missions();
        let serving = Serving {
            kernel,
            course,
            bridge,
            index: Index::Moving,
        };
        self.channel.say(&serving.serving()).await;
        let standing = serving.kernel.image.state.standing();
        tracing::info!(epoch = %standing.epoch, last = %standing.last, objects = standing.objects, "ready");
        Ok(serving)
    }

    /// Finishes what can be finished, hangs up, and follows whoever comes next.
    async fn give_up(&mut self, serving: Serving, patience: Duration) -> anyhow::Result<Phase> {
        let Serving {
            kernel,
            course,
            bridge,
            ..
        } = serving;
        let begun = kernel.requests.count();
        let _ = course.send(Course::Leaving);
        kernel.requests.rest(patience).await;
        let parked = kernel.requests.count();
        let _ = course.send(Course::Parking);
        let listener = bridge.await?;
        kernel.mind.park().await;
        let former = kernel.image.state.epoch();
        let standby = block_in_place(|| {
            kernel.mind.audit.close();
            kernel.image.give_up()
        });
        let last = standby.last();
        tracing::info!(epoch = %former, %last, parked, "yielded");
        self.channel
            .say(&FromKernel::Yielded {
                last,
                finished: begun.saturating_sub(parked) as u32,
                parked: parked as u32,
            })
            .await;
        Ok(Phase::Standing(Standing {
            standby,
            listener,
            former: Some(former),
            is_warm: true,
        }))
    }

    async fn lend(&mut self) {
        match &self.listening {
            Some(socket) => self.channel.lend(socket.as_fd()).await,
            None => self.refuse("this kernel has a socket of its own").await,
        }
    }

    async fn tell(&mut self, news: News) {
        let message = match news {
            News::Replaced(workers) => FromKernel::WorkersReplaced { workers },
            News::Refused(message) => FromKernel::WorkersRefused { message },
            News::Restored(message) => FromKernel::WorkersRestored { message },
        };
        self.channel.say(&message).await;
    }

    async fn refuse(&mut self, message: &str) {
        let message = message.to_owned();
        self.channel.say(&FromKernel::Refused { message }).await;
    }
}

impl Phase {
    /// What this phase waits for by itself. Nothing is lost when this is broken off.
    async fn next(&mut self, workers: &Workers) -> Happened {
        match self {
            Phase::Serving(Serving {
                index: Index::Freezing(freezing),
                ..
            }) => Happened::Frozen(freezing.await.unwrap_or_else(|error| Err(error.to_string()))),
            Phase::Serving(_) => std::future::pending().await,
            Phase::Standing(standing) => {
                tokio::select! {
                    () = workers.warm(), if !standing.is_warm => Happened::Warm,
                    () = tokio::time::sleep(FOLLOWING) => Happened::Time,
                }
            }
            Phase::Over => Happened::Stop,
        }
    }
}

impl Serving {
    fn prepared(&self) -> FromKernel {
        let standing = self.kernel.image.state.standing();
        FromKernel::Prepared {
            epoch: standing.epoch,
            last: standing.last,
        }
    }

    fn serving(&self) -> FromKernel {
        let standing = self.kernel.image.state.standing();
        FromKernel::Serving {
            epoch: standing.epoch,
            last: standing.last,
        }
    }

    /// Lets the index move on; what is still freezing moves on after that.
    fn settle(&mut self) {
        let kernel = self.kernel.clone();
        match std::mem::replace(&mut self.index, Index::Moving) {
            Index::Moving => {}
            Index::Frozen { .. } => kernel.image.thaw(),
            Index::Freezing(freezing) => {
                tokio::spawn(async move {
                    let _frozen = freezing.await;
                    kernel.image.thaw();
                });
            }
        }
    }

    async fn answer(&self, call: Call) -> Result<Answer, Fault> {
        if !matches!(call, Call::Inspect { .. } | Call::Status) {
            return Err(unasked());
        }
        let asker = Asker {
            author: "steward".into(),
            request: None,
            transfers: Arc::new(Transfers::default()),
            events: None,
            reporter: Arc::default(),
        };
        self.kernel.call(asker, call).await
    }

    /// A thought that still runs is durable and goes on next time.
    async fn stop(self) {
        let _ = self.course.send(Course::Leaving);
        let _ = self.bridge.await;
        block_in_place(|| {
            self.kernel.image.close();
            self.kernel.mind.audit.close();
        });
    }
}

impl Standing {
    fn follow(&self) -> Result<(), OpenError> {
        block_in_place(|| {
            while self.standby.follow()? == Followed::Behind {}
            Ok(())
        })
    }
}

fn unasked() -> Fault {
    Fault::new(
        reason::BAD_REQUEST,
        "a steward asks what objects and status are, nothing else",
    )
}
