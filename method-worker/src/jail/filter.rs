//! The tables of [`super::syscalls`] as two seccomp filters. The operating system obeys the harsher verdict of the two.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::syscalls::{ALLOWED, HOSTILE, Rule};
use crate::peer::DESCRIPTOR;

/// The compiled filters; made while memory and errors are still easy.
pub struct Filters {
    hostile: BpfProgram,
    allowed: BpfProgram,
}

pub fn compile() -> Result<Filters, String> {
    build().map_err(|error| error.to_string())
}

/// Applies both for good and says so in words.
pub fn close(filters: &Filters) -> Result<String, String> {
    seccompiler::apply_filter(&filters.hostile).map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&filters.allowed).map_err(|error| error.to_string())?;
    Ok(format!(
        "seccomp ({} allowed, {} kill)",
        ALLOWED.len(),
        HOSTILE.len()
    ))
}

fn build() -> Result<Filters, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let hostile = HOSTILE.iter().map(|row| (row.number, Vec::new())).collect();
    let hostile = SeccompFilter::new(hostile, SeccompAction::Allow, SeccompAction::KillProcess, arch)?;
    let mut rules = BTreeMap::new();
    for row in ALLOWED {
        rules.insert(row.number, conditions(row.rule)?);
    }
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let allowed = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch)?;
    Ok(Filters {
        hostile: hostile.try_into()?,
        allowed: allowed.try_into()?,
    })
}

/// The alternatives for one call; none means that any arguments will do.
fn conditions(rule: Rule) -> Result<Vec<SeccompRule>, BackendError> {
    let equal =
        |argument, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
    let null = |argument| SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0);
    let bits = |argument, mask: i32, value: i32| {
        let operator = SeccompCmpOp::MaskedEq(mask as u64);
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value as u64)
    };
    let socket = || equal(0, DESCRIPTOR as u64);
    let no_execution = || bits(2, libc::PROT_EXEC, 0);
    let all = match rule {
        Rule::Any => return Ok(Vec::new()),
        Rule::OnSocket => vec![socket()?],
        Rule::SendOnSocket | Rule::ReceiveOnSocket => vec![socket()?, null(4)?],
        Rule::NoExecution => vec![no_execution()?],
        Rule::AnonymousNoExecution => {
            vec![
                no_execution()?,
                bits(3, libc::MAP_ANONYMOUS, libc::MAP_ANONYMOUS)?,
            ]
        }
    };
    Ok(vec![SeccompRule::new(all)?])
}
