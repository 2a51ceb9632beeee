//! How far a value is from persistent state.

/// The distance from a value to state that outlives the method.
///
/// 0: the value itself may be persistent (a slot value, a parameter, the answer to a message). 1 to 3: a container made here,
/// in which persistent values may be found that many steps down. [`Reach::FRESH`]: made here, nothing persistent within.
/// [`Reach::PLAIN`]: a number, text, truth value or None, which nothing can change. Smaller is nearer; doubt goes nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reach(u8);

impl Reach {
    pub(crate) const PERSISTENT: Reach = Reach(0);
    /// A container made here, with persistent values directly inside.
    pub(crate) const HOLDS: Reach = Reach(1);
    const DEEPEST: Reach = Reach(3);
    pub(crate) const FRESH: Reach = Reach(4);
    pub(crate) const PLAIN: Reach = Reach(5);

    pub(crate) fn is_persistent(self) -> bool {
        self == Reach::PERSISTENT
    }

    /// Of two possible values, the nearer.
    pub(crate) fn or(self, other: Reach) -> Reach {
        self.min(other)
    }

    /// An element, an attribute or an item of the value.
    pub(crate) fn inside(self) -> Reach {
        if self.0 <= Reach::DEEPEST.0 {
            Reach(self.0.saturating_sub(1))
        } else {
            self
        }
    }

    /// A container made here around the value.
    pub(crate) fn wrapped(self) -> Reach {
        if self.0 < Reach::DEEPEST.0 {
            Reach(self.0 + 1)
        } else if self == Reach::DEEPEST {
            Reach::DEEPEST
        } else {
            Reach::FRESH
        }
    }

    /// A copy of the container itself with the same elements, as `list(value)` makes one.
    pub(crate) fn copied(self) -> Reach {
        self.inside().wrapped()
    }

    /// The result of an operator: always a new value, which may hold the elements of its operands.
    pub(crate) fn combined(self, other: Reach, repeats: bool) -> Reach {
        let plain = if repeats {
            self == Reach::PLAIN && other == Reach::PLAIN
        } else {
            self == Reach::PLAIN || other == Reach::PLAIN
        };
        if plain {
            Reach::PLAIN
        } else {
            self.or(other).or(Reach::FRESH).max(Reach::HOLDS)
        }
    }
}

/// What a builtin function answers, from the reach of its positional arguments.
pub(crate) fn of_builtin(name: &str, arguments: &[Reach], maps_plainly: bool) -> Reach {
    let nearest = arguments.iter().copied().fold(Reach::PLAIN, Reach::or);
    match name {
        "abs" | "all" | "any" | "bool" | "bytes" | "chr" | "divmod" | "float" | "int" | "isinstance"
        | "len" | "ord" | "pow" | "repr" | "round" | "str" => Reach::PLAIN,
        "range" => Reach::FRESH,
        "sum" if arguments.len() < 2 => Reach::PLAIN,
        "sum" => nearest.inside().copied().max(Reach::HOLDS),
        // Of one container an element, of several values one of these: the nearer of the two.
        "max" | "min" => nearest.inside(),
        "list" | "tuple" | "set" | "frozenset" | "sorted" | "reversed" | "filter" => nearest.copied(),
        "enumerate" | "zip" => nearest.inside().wrapped().wrapped(),
        "dict" => nearest.inside().inside().wrapped(),
        "map" if maps_plainly => Reach::FRESH,
        "map" => Reach::HOLDS,
        _ => nearest.wrapped(),
    }
}

/// Methods that only text has, and that answer plain values, whatever the receiver.
pub(crate) fn answers_text(selector: &str) -> bool {
    matches!(
        selector,
        "capitalize"
            | "casefold"
            | "endswith"
            | "isalnum"
            | "isalpha"
            | "isdigit"
            | "islower"
            | "isspace"
            | "isupper"
            | "join"
            | "ljust"
            | "lower"
            | "lstrip"
            | "rjust"
            | "rstrip"
            | "startswith"
            | "strip"
            | "swapcase"
            | "title"
            | "upper"
            | "zfill"
    )
}

/// Methods that answer a new list of texts.
pub(crate) fn answers_texts(selector: &str) -> bool {
    matches!(
        selector,
        "partition" | "rpartition" | "rsplit" | "split" | "splitlines"
    )
}
