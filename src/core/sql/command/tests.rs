use super::*;

#[test]
fn a_command_is_known_by_its_first_word_whatever_is_before_it() {
    for (sql, verb) in [
        ("COMMIT", "COMMIT"),
        ("  \n-- a\n /* b */copy x from stdin", "COPY"),
        ("(select 1)", "SELECT"),
        (";;End;", "END"),
        ("frobnicate", ""),
        ("", ""),
    ] {
        assert_eq!(SqlCommand::of(sql).verb(), verb, "{sql}");
    }
    for (verb, text) in Verb::ALL {
        assert_eq!(SqlCommand::of(&text.to_ascii_lowercase()).verb, *verb);
    }
}

#[test]
fn what_may_leave_a_part_behind_is_told_from_what_is_whole_or_refused_early() {
    for (sql, begun, screened) in [
        ("call p()", true, true),
        ("do $$ begin end $$", true, true),
        ("vacuum", true, true),
        ("create database d", true, false),
        ("drop /* x */ tablespace t", true, false),
        ("alter system set a = 1", true, false),
        ("create index concurrently i on t (n)", true, true),
        ("DROP INDEX CONCURRENTLY i", true, true),
        ("create table t (n int)", false, false),
        ("create", false, false),
        ("insert into t values (1)", false, false),
        ("select 1", false, false),
    ] {
        let command = SqlCommand::of(sql);
        let leaves = (command.leaves_a_part(false), command.leaves_a_part(true));
        assert_eq!(leaves, (begun, screened), "{sql}");
    }
}

#[test]
fn a_table_that_a_query_makes_is_told_from_one_that_it_fills() {
    for (sql, may) in [
        ("insert into t select 1", false),
        ("  INSERT INTO t values (1)", false),
        // A false match costs a round trip only.
        ("/* x */ insert into t select 1", true),
        ("insert into t values (Set_Config('a.b', 'c', true))", true),
        ("with x as (select 1) select * InTo t from x", true),
        ("select 1", false),
        ("create table t (n int)", true),
        ("rollback", false),
        ("", false),
    ] {
        assert_eq!(SqlCommand::of(sql).may_change_meanings, may, "{sql}");
    }
}

#[test]
fn any_text_is_read() {
    let mut random = crate::core::testing::Xorshift::new(7);
    let parts =
        ["select", " ", "for", "into", "ä", "(", "/*", "*/", "'", "$$", "copy", "to", "語", ";"];
    for _ in 0..20_000 {
        let count = random.below(12);
        let part = |_| parts[random.below(parts.len() as u64) as usize];
        let sql: String = (0..count).map(part).collect();
        // Neither panics.
        let command = SqlCommand::of(&sql);
        assert!(command.verb == Verb::Copy || command.direction.is_none(), "{sql}");
    }
}
