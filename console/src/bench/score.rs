//! What many trials come to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::task::{Answer, Refusal, Task};
use super::trial::{Trial, Verdict};

/// Two-sided 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// All tasks once, under one setting.
pub struct Arm {
    pub name: String,
    pub model: String,
    pub tasks: Vec<Task>,
    pub trials: Vec<Trial>,
    /// That `verify` found in the end.
    pub image_faults: u64,
    pub elapsed: Duration,
}

/// Some tasks of an arm together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    pub name: String,
    pub count: usize,
    pub right: usize,
    /// Right in the message that was sent, whatever the hidden examples say.
    pub visible_right: usize,
    pub installed: usize,
    /// Installed, and not right.
    pub installed_wrong: usize,
    /// Of those installed.
    pub write_set_exact: usize,
    pub tokens: u64,
    pub model_calls: u64,
    pub elapsed: Duration,
    /// Failures after which objects or entries were not as before.
    pub image_changed: usize,
}

/// A share with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// The Wilson interval of `right` of `count` (E. B. Wilson, 1927). `None` of nothing.
pub fn share(right: usize, count: usize) -> Option<Share> {
    if count == 0 {
        return None;
    }
    let n = count as f64;
    let p = right as f64 / n;
    let middle = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    Some(Share {
        value: p,
        low: ((middle - spread) / whole).max(0.0),
        high: ((middle + spread) / whole).min(1.0),
    })
}

impl Arm {
    /// A score for each family, in the order of the files.
    pub fn families(&self) -> Vec<Score> {
        let mut scores: Vec<Score> = Vec::new();
        for (task, trial) in self.tasks.iter().zip(&self.trials) {
            if scores.last().is_none_or(|last| last.name != task.family) {
                scores.push(Score::named(&task.family));
            }
            if let Some(score) = scores.last_mut() {
                score.add(trial);
            }
        }
        scores
    }

    /// One step, compositions, refusals of both kinds, all.
    pub fn groups(&self) -> Vec<Score> {
        let of = |name: &str, is_in: &dyn Fn(&Task) -> bool| {
            let mut score = Score::named(name);
            for (task, trial) in self.tasks.iter().zip(&self.trials) {
                if is_in(task) {
                    score.add(trial);
                }
            }
            score
        };
        let refused = |wanted: Refusal| move |task: &Task| matches!(&task.answer, Answer::Refusal { kind, .. } if *kind == wanted);
        let groups = [
            of("one step", &|task| task.is_solvable() && !is_composition(task)),
            of("compositions", &|task| task.is_solvable() && is_composition(task)),
            of("all that can be done", &Task::is_solvable),
            of("impossible", &refused(Refusal::Impossible)),
            of("ambiguous", &refused(Refusal::Ambiguous)),
        ];
        groups.into_iter().filter(|score| score.count > 0).collect()
    }

    /// How often each verdict was given, those never given left out.
    pub fn verdicts(&self) -> Vec<(Verdict, usize)> {
        Verdict::ALL
            .into_iter()
            .map(|verdict| {
                let count = self
                    .trials
                    .iter()
                    .filter(|trial| trial.verdict == verdict)
                    .count();
                (verdict, count)
            })
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// By the round in which the mission ended: how many ended there, how many of these installed a method, how many were right.
    pub fn rounds(&self) -> BTreeMap<u32, (usize, usize, usize)> {
        let mut rounds = BTreeMap::new();
        for (_, trial) in self.solvable() {
            let (ended, installed, right) = rounds.entry(trial.rounds).or_insert((0, 0, 0));
            *ended += 1;
            *installed += usize::from(trial.is_installed);
            *right += usize::from(trial.verdict.is_right());
        }
        rounds
    }

    /// The median and the 95th percentile of the second send, in milliseconds.
    pub fn second_ms(&self) -> Option<(f64, f64)> {
        let mut times: Vec<Duration> = self.trials.iter().filter_map(|trial| trial.second).collect();
        times.sort_unstable();
        let at = |part: f64| {
            let index = ((times.len() as f64 - 1.0) * part).round() as usize;
            times.get(index).map(|time| time.as_secs_f64() * 1e3)
        };
        Some((at(0.5)?, at(0.95)?))
    }

    /// The median time of a success, in seconds.
    pub fn success_s(&self) -> Option<f64> {
        let mut times: Vec<Duration> = self
            .solvable()
            .filter(|(_, trial)| trial.verdict.is_right())
            .map(|(_, trial)| trial.elapsed)
            .collect();
        times.sort_unstable();
        times.get(times.len() / 2).map(Duration::as_secs_f64)
    }

    /// Second sends that asked the model again.
    pub fn thought_again(&self) -> usize {
        self.trials.iter().filter(|trial| trial.is_thought_again).count()
    }

    pub fn most_tokens(&self) -> u64 {
        self.trials.iter().map(|trial| trial.tokens).max().unwrap_or(0)
    }

    /// Tasks that can be done and were done with so many tokens, and how many there are.
    pub fn right_within(&self, tokens: u64) -> (usize, usize) {
        let right = self
            .solvable()
            .filter(|(_, trial)| trial.verdict.is_right() && trial.tokens <= tokens)
            .count();
        (right, self.solvable().count())
    }

    fn solvable(&self) -> impl Iterator<Item = (&Task, &Trial)> {
        self.tasks
            .iter()
            .zip(&self.trials)
            .filter(|(task, _)| task.is_solvable())
    }
}

impl Score {
    fn named(name: &str) -> Score {
        Score {
            name: name.to_owned(),
            ..Score::default()
        }
    }

    fn add(&mut self, trial: &Trial) {
        let is_right = trial.verdict.is_right();
        self.count += 1;
        self.right += usize::from(is_right);
        self.visible_right += usize::from(trial.is_visible_right);
        self.installed += usize::from(trial.is_installed);
        self.installed_wrong += usize::from(trial.is_installed && !is_right);
        self.write_set_exact += usize::from(trial.is_write_set_exact);
        self.tokens += trial.tokens;
        self.model_calls += u64::from(trial.model_calls);
        self.elapsed += trial.elapsed;
        self.image_changed += usize::from(!trial.is_image_equal);
    }

    /// What one success costs.
    pub fn per_success(&self, whole: f64) -> Option<f64> {
        (self.right > 0).then(|| whole / self.right as f64)
    }

    fn document(&self) -> Json {
        let interval = share(self.right, self.count);
        json!({
            "name": self.name, "count": self.count, "right": self.right,
            "pass_at_1": interval.map(|share| share.value),
            "low": interval.map(|share| share.low), "high": interval.map(|share| share.high),
            "visible_right": self.visible_right, "installed": self.installed,
            "installed_wrong": self.installed_wrong, "write_set_exact": self.write_set_exact,
            "tokens": self.tokens, "model_calls": self.model_calls, "elapsed_s": self.elapsed.as_secs_f64(),
            "image_changed": self.image_changed,
        })
    }
}

/// All arms for programs.
pub fn document(arms: &[Arm]) -> Json {
    let arms: Vec<Json> = arms
        .iter()
        .map(|arm| {
            let trials: Vec<Json> = arm
                .tasks
                .iter()
                .zip(&arm.trials)
                .map(|(task, trial)| {
                    let why = match &task.answer {
                        Answer::Refusal { why, .. } => Some(why),
                        Answer::Reference(_) => None,
                    };
                    json!({
                        "id": task.id, "family": task.family, "part": task.part.word(), "refused_because": why,
                        "verdict": trial.verdict.word(), "right": trial.verdict.is_right(),
                        "visible_right": trial.is_visible_right, "installed": trial.is_installed,
                        "write_set_exact": trial.is_write_set_exact, "image_equal": trial.is_image_equal,
                        "rounds": trial.rounds, "model_calls": trial.model_calls, "tokens": trial.tokens,
                        "elapsed_ms": trial.elapsed.as_secs_f64() * 1e3,
                        "second_ms": trial.second.map(|second| second.as_secs_f64() * 1e3),
                    })
                })
                .collect();
            json!({
                "name": arm.name, "model": arm.model, "image_faults": arm.image_faults,
                "elapsed_s": arm.elapsed.as_secs_f64(),
                "families": arm.families().iter().map(Score::document).collect::<Vec<_>>(),
                "groups": arm.groups().iter().map(Score::document).collect::<Vec<_>>(),
                "second_ms": arm.second_ms(), "trials": trials,
            })
        })
        .collect();
    json!({"ok": true, "arms": arms})
}

fn is_composition(task: &Task) -> bool {
    task.family.starts_with("compositions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_wilsons() {
        let near = |share: Option<Share>, low: f64, high: f64| {
            let share = share.unwrap();
            assert!(
                (share.low - low).abs() < 5e-4 && (share.high - high).abs() < 5e-4,
                "{share:?}"
            );
        };
        // As statsmodels' proportion_confint(method="wilson") has them.
        near(share(0, 10), 0.0, 0.2775);
        near(share(5, 10), 0.2366, 0.7634);
        near(share(10, 10), 0.7225, 1.0);
        near(share(1399, 1500), 0.9189, 0.9442);
        assert_eq!(share(0, 0), None);
    }
}
