//! Scores as Markdown, for a terminal and for docs/dnu-results.md.

use std::fmt::Write as _;

use super::part::Part;
use super::score::{Arm, Score, share};

/// Every arm; where there are several, what each switch is worth.
pub fn markdown(arms: &[Arm]) -> String {
    let mut out = String::new();
    if let Some(first) = arms.first() {
        whole(&mut out, first);
    }
    if arms.len() > 1 {
        ablations(&mut out, arms);
    }
    out.trim_end().to_owned()
}

fn whole(out: &mut String, arm: &Arm) {
    let of = |part: Part| arm.tasks.iter().filter(|task| task.part == part).count();
    let _ = writeln!(
        out,
        "{}: {} tasks ({} dev, {} test), {}, {:.0} s in all\n",
        arm.name,
        arm.tasks.len(),
        of(Part::Dev),
        of(Part::Test),
        arm.model,
        arm.elapsed.as_secs_f64()
    );
    let _ = writeln!(
        out,
        "| family | tasks | pass@1 | 95 % interval | visible right | gap | installed | of them wrong | write set exact | calls a task | \
         tokens a success | s a success |"
    );
    let _ = writeln!(
        out,
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    for score in arm.families() {
        row(out, &score, false);
    }
    for score in arm.groups() {
        row(out, &score, true);
    }
    let _ = writeln!(out, "\n| what became of a task | tasks |\n| --- | --- |");
    for (verdict, count) in arm.verdicts() {
        let _ = writeln!(out, "| {} | {count} |", verdict.word());
    }
    let _ = writeln!(
        out,
        "\n| the mission ended in round | tasks that can be done | installed | right |\n| --- | --- | --- | --- |"
    );
    for (round, (ended, installed, right)) in arm.rounds() {
        let _ = writeln!(out, "| {round} | {ended} | {installed} | {right} |");
    }
    let changed: usize = arm.families().iter().map(|score| score.image_changed).sum();
    let failures = arm.trials.iter().filter(|trial| !trial.is_installed).count();
    let _ = writeln!(
        out,
        "\nAfter {failures} failures the digest of all objects and entries differed from the one before in {changed} cases; `verify` \
         found {} faults in the end.",
        arm.image_faults
    );
    if let (Some((p50, p95)), Some(success)) = (arm.second_ms(), arm.success_s()) {
        let _ = writeln!(
            out,
            "The same message again: median {p50:.2} ms, 95th percentile {p95:.2} ms; {} of them asked the model. A success took {success:.2} s \
             in the median.",
            arm.thought_again()
        );
    }
}

fn row(out: &mut String, score: &Score, is_sum: bool) {
    let mark = if is_sum { "**" } else { "" };
    let (pass, interval) = match share(score.right, score.count) {
        Some(share) => (
            percent(share.value),
            format!("{:.1} – {:.1}", share.low * 100.0, share.high * 100.0),
        ),
        None => ("–".into(), "–".into()),
    };
    let is_refusal = score.visible_right == 0 && score.right > 0 && score.installed == score.installed_wrong;
    let of_count = |part: usize| percent(part as f64 / score.count.max(1) as f64);
    let (visible, gap) = match is_refusal {
        true => ("–".into(), "–".into()),
        false => {
            let gap = score.visible_right as f64 - score.right as f64;
            (
                of_count(score.visible_right),
                percent(gap / score.count.max(1) as f64),
            )
        }
    };
    let exact = match score.installed {
        0 => "–".into(),
        installed => percent(score.write_set_exact as f64 / installed as f64),
    };
    let cost = |whole: f64, digits: usize| {
        score
            .per_success(whole)
            .map_or("–".into(), |each| format!("{each:.digits$}"))
    };
    let _ = writeln!(
        out,
        "| {mark}{}{mark} | {} | {pass} | {interval} | {visible} | {gap} | {} | {} | {exact} | {:.2} | {} | {} |",
        score.name,
        score.count,
        score.installed,
        score.installed_wrong,
        score.model_calls as f64 / score.count.max(1) as f64,
        cost(score.tokens as f64, 0),
        cost(score.elapsed.as_secs_f64(), 2)
    );
}

/// At equal tokens: as many as the most frugal arm ever spent on one task.
fn ablations(out: &mut String, arms: &[Arm]) {
    let tokens = arms.iter().map(Arm::most_tokens).min().unwrap_or(0);
    let _ = writeln!(
        out,
        "\n| arm | pass@1 | within {tokens} tokens | refusals right | installed and wrong | calls | tokens |\n| --- | --- | --- | --- | --- | --- | --- |"
    );
    for arm in arms {
        let (within, count) = arm.right_within(tokens);
        let (right, _) = arm.right_within(u64::MAX);
        let groups = arm.groups();
        let refusals = || {
            groups
                .iter()
                .filter(|score| matches!(score.name.as_str(), "impossible" | "ambiguous"))
        };
        let refused: usize = refusals().map(|score| score.right).sum();
        let to_refuse: usize = refusals().map(|score| score.count).sum();
        let families = arm.families();
        let sum = |of: &dyn Fn(&Score) -> u64| families.iter().map(of).sum::<u64>();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {refused} of {to_refuse} | {} | {} | {} |",
            arm.name,
            percent(right as f64 / count.max(1) as f64),
            percent(within as f64 / count.max(1) as f64),
            sum(&|score| score.installed_wrong as u64),
            sum(&|score| score.model_calls),
            sum(&|score| score.tokens)
        );
    }
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}
