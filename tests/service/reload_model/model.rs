//! The model: what a file says, and what must be in force after it was read and operators acted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::harness::{digest, tenant, Tenant};

/// A small generator of its own, so that a seed means the same everywhere.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// Identities that come and go.
pub const GUESTS: [&str; 3] = ["ada", "bob", "cyd"];
pub const TENANTS: usize = 4;

/// The token of a guest; each has two, one at a time.
pub fn token(guest: usize, which: usize) -> String {
    format!("token-of-{}-{which}", GUESTS[guest])
}

/// A tenant's table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Which tenant's role it logs in as.
    pub role: usize,
    /// Its own limit.
    pub size: Option<i32>,
    /// The guests that may use it beside the operator; `None`: everybody.
    pub users: Option<BTreeSet<usize>>,
}

/// A file.
#[derive(Clone, Debug)]
pub struct File {
    pub tables: BTreeMap<usize, Table>,
    /// Which of its tokens each guest has that is in the file.
    pub guests: BTreeMap<usize, usize>,
    /// The limit of tenants that have none of their own.
    pub usual: i32,
    pub statements: usize,
}

impl File {
    pub fn first() -> File {
        let table = Table { role: 0, size: None, users: None };
        let tables = BTreeMap::from([(0, table)]);
        File { tables, guests: BTreeMap::new(), usual: 2, statements: 2 }
    }

    /// Another file, with up to four changes.
    pub fn changed(&self, dice: &mut Dice) -> File {
        let mut next = self.clone();
        for _ in 0..=dice.below(4) {
            next.change(dice);
        }
        if next.tables.is_empty() {
            // Without any, clients might bring DSNs.
            next.tables.clone_from(&self.tables);
        }
        for table in next.tables.values_mut() {
            if let Some(users) = &mut table.users {
                users.retain(|guest| next.guests.contains_key(guest));
            }
        }
        next
    }

    fn change(&mut self, dice: &mut Dice) {
        let (which, guest) = (dice.below(TENANTS), dice.below(GUESTS.len()));
        match dice.below(9) {
            0 => drop(self.tables.remove(&which)),
            1 | 2 => {
                let size = Some(1 + dice.below(4) as i32).filter(|size| *size < 4);
                let users = (dice.below(3) > 0).then(|| BTreeSet::from([guest]));
                self.tables.insert(which, Table { role: dice.below(TENANTS), size, users });
            }
            3 | 4 => {
                let Some(table) = self.tables.get_mut(&which) else { return };
                let users = table.users.get_or_insert_with(BTreeSet::new);
                if !users.remove(&guest) {
                    users.insert(guest);
                }
            }
            5 => drop(self.guests.remove(&guest)),
            6 => drop(self.guests.insert(guest, dice.below(2))),
            7 => self.usual = 1 + dice.below(5) as i32,
            _ => self.statements = 1 + dice.below(4),
        }
    }

    /// Its text.
    pub fn text(&self, world: &[Tenant]) -> String {
        let mut text = format!(
            "[service]\nmax_statements = {}\n[defaults]\nmin_connections = 0\n\
             max_connections = {}\n",
            self.statements, self.usual
        );
        for (guest, which) in &self.guests {
            let digest = digest(&token(*guest, *which));
            let name = GUESTS[*guest];
            let _ = writeln!(text, "[identities.{name}]\ntokens = [{{ sha256 = \"{digest}\" }}]");
        }
        for (which, table) in &self.tables {
            let role = world[table.role].with(&format!("dbname={}", world[*which].name));
            let tenant = Tenant { dsn: role.dsn, ..world[*which].clone() };
            let mut lines = match &table.users {
                None => "anonymous = true\n".to_owned(),
                Some(guests) => format!("identities = {:?}\n", names(guests)),
            };
            if let Some(size) = table.size {
                let _ = writeln!(lines, "max_connections = {size}");
            }
            text += &tenant.table(&lines);
        }
        text
    }

    /// The limit that it gives a tenant.
    fn size(&self, which: usize) -> Option<i32> {
        self.tables.get(&which).map(|table| table.size.unwrap_or(self.usual))
    }
}

/// The names of these guests, and of the operator.
pub fn names(guests: &BTreeSet<usize>) -> Vec<&'static str> {
    guests.iter().map(|guest| GUESTS[*guest]).chain(["ops"]).collect()
}

/// What must be in force.
#[derive(Debug)]
pub struct Model {
    pub file: File,
    /// The limit of each tenant that is there.
    pub sizes: BTreeMap<usize, i32>,
}

impl Model {
    pub fn of(file: File) -> Model {
        let sizes = file.tables.keys().filter_map(|which| Some((*which, file.size(*which)?)));
        Model { sizes: sizes.collect(), file }
    }

    /// This file is read: what operators have changed ends where it says something else of the
    /// tenant itself, and stays otherwise.
    pub fn read(&mut self, file: File) {
        let own = |table: &Table| (table.role, table.size);
        for which in 0..TENANTS {
            let (was, is) = (self.file.tables.get(&which), file.tables.get(&which));
            let Some(size) = file.size(which) else {
                self.sizes.remove(&which);
                continue;
            };
            let in_force = self.sizes.get(&which).copied();
            let says_other = was.map(own) != is.map(own);
            let is_untouched = in_force.is_some() && in_force == self.file.size(which);
            if says_other || is_untouched {
                self.sizes.insert(which, size);
            }
        }
        self.file = file;
    }

    /// Whether who has this token may use the tenant: the reason of the refusal, if not.
    pub fn refusal(&self, which: usize, guest: usize, token: usize) -> Option<&'static str> {
        if self.file.guests.get(&guest) != Some(&token) {
            return Some("UNAUTHENTICATED");
        }
        let users = self.file.tables.get(&which).map(|table| table.users.as_ref());
        match users {
            None => Some("PERMISSION_DENIED"),
            Some(Some(users)) if !users.contains(&guest) => Some("PERMISSION_DENIED"),
            // An operator has removed it.
            Some(_) if !self.sizes.contains_key(&which) => Some("TENANT_NOT_FOUND"),
            Some(_) => None,
        }
    }
}

/// Tenants, each with a role and a database of its own.
pub fn world() -> Vec<Tenant> {
    (0..TENANTS).map(|_| tenant()).collect()
}
