//! Completion for bash, zsh and fish.
//!
//! The three scripts do the same: they follow the words before the cursor as far as these are known, and offer what may come
//! there, a command or an option; files where nothing is known. Called by a name of RabbitMQ's, the program is `leveret ctl`.

use std::fmt::Write as _;

use clap::ValueEnum;

use super::{Flag, Word};

/// The shells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The script for a shell.
pub fn script(shell: Shell, program: &Word) -> String {
    match shell {
        Shell::Bash => bash(program),
        Shell::Zsh => zsh(program),
        Shell::Fish => fish(program),
    }
}

fn bash(program: &Word) -> String {
    let mut text = "\
# Completion for bash: source this file, or put it into /usr/share/bash-completion/completions/leveret.
# Links with RabbitMQ's names are completed after: complete -o default -F _leveret rabbitmqctl
_leveret() {
    local cur=${COMP_WORDS[COMP_CWORD]} at=leveret words='' flags='' i
    [[ ${COMP_WORDS[0]##*/} == rabbitmq* ]] && at='leveret ctl'
    for ((i = 1; i < COMP_CWORD; i++)); do
        case \"$at ${COMP_WORDS[i]}\" in
"
    .to_owned();
    let _ = writeln!(text, "            {}) at=\"$at ${{COMP_WORDS[i]}}\" ;;", known(program).join("|"));
    text += "        esac\n    done\n    case ${COMP_WORDS[COMP_CWORD - 1]} in\n";
    for flag in with_values(program) {
        let (flag, values) = (written(flag).join("|"), flag.values.join(" "));
        let _ = writeln!(text, "        {flag}) COMPREPLY=($(compgen -W '{values}' -- \"$cur\")); return ;;");
    }
    text += "        --data-dir) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n    esac\n    case $at in\n";
    for (path, word) in program.paths() {
        let words: Vec<&str> = word.words.iter().map(|word| word.name.as_str()).collect();
        let flags: Vec<String> = word.flags.iter().map(|flag| format!("--{}", flag.long)).collect();
        if !words.is_empty() || !flags.is_empty() {
            let _ = writeln!(text, "        '{path}') words='{}' flags='{}' ;;", words.join(" "), flags.join(" "));
        }
    }
    let _ = write!(
        text,
        "    esac
    [[ $at == 'leveret ctl '* ]] && flags+=' {}'
    if [[ $cur == -* ]]; then words=$flags; fi
    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))
}}
complete -o default -F _leveret leveret
",
        general(program).iter().map(|flag| format!("--{}", flag.long)).collect::<Vec<_>>().join(" ")
    );
    text
}

fn zsh(program: &Word) -> String {
    let mut text = "\
#compdef leveret
# Completion for zsh: put this file as _leveret into a directory of $fpath.
# Links with RabbitMQ's names are completed after: compdef _leveret rabbitmqctl
_leveret() {
    local at=leveret word
    local -a offered flags
    [[ ${words[1]:t} == rabbitmq* ]] && at='leveret ctl'
    for word in \"${(@)words[2,CURRENT-1]}\"; do
        case \"$at $word\" in
"
    .to_owned();
    let _ = writeln!(text, "            ({}) at=\"$at $word\" ;;", known(program).join("|"));
    text += "        esac\n    done\n    case ${words[CURRENT-1]} in\n";
    for flag in with_values(program) {
        let (flag, values) = (written(flag).join("|"), flag.values.join(" "));
        let _ = writeln!(text, "        ({flag}) compadd -- {values}; return ;;");
    }
    text += "        (--data-dir) _files -/; return ;;\n    esac\n    case $at in\n";
    for (path, word) in program.paths().into_iter().filter(|(_, word)| !word.words.is_empty() || !word.flags.is_empty())
    {
        let words: String = word.words.iter().map(|word| described(&word.name, &word.help)).collect();
        let flags = described_all(&word.flags);
        let _ = writeln!(text, "        ('{path}') offered=({words} ) flags=({flags} ) ;;");
    }
    let _ = write!(
        text,
        "    esac
    [[ $at == 'leveret ctl '* ]] && flags+=({} )
    if [[ $PREFIX == -* ]]; then
        _describe option flags
    elif (( $#offered )); then
        _describe command offered
    else
        _files
    fi
}}
if [[ $funcstack[1] == _leveret ]]; then _leveret \"$@\"; else compdef _leveret leveret; fi
",
        described_all(general(program))
    );
    text
}

fn fish(program: &Word) -> String {
    let mut text = "\
# Completion for fish: put this file as leveret.fish into a directory of $fish_complete_path.
# Links with RabbitMQ's names are completed after: complete -c rabbitmqctl -a '(__leveret_offered)'
function __leveret_at
    set -l words (commandline -opc)
    set -l at leveret
    string match -q -r '(^|/)rabbitmq[^/]*$' -- $words[1]; and set at 'leveret ctl'
    for word in $words[2..-1]
        switch \"$at $word\"
"
    .to_owned();
    let _ = writeln!(text, "            case {}\n                set at \"$at $word\"", known(program).join(" "));
    text += "        end\n    end\n    echo $at\nend\nfunction __leveret_offered\n    switch (commandline -opc)[-1]\n";
    for flag in with_values(program) {
        let (flag, values) = (written(flag).join(" "), flag.values.join(" "));
        let _ = writeln!(text, "        case {flag}\n            printf '%s\\n' {values}\n            return");
    }
    text += "    end\n    set -l at (__leveret_at)\n    switch $at\n";
    let listed = |flags: &[Flag]| -> String {
        flags.iter().map(|flag| format!(" {} {}", quoted(&format!("--{}", flag.long)), quoted(&flag.help))).collect()
    };
    for (path, word) in program.paths().into_iter().filter(|(_, word)| !word.words.is_empty() || !word.flags.is_empty())
    {
        let words: String =
            word.words.iter().map(|word| format!(" {} {}", quoted(&word.name), quoted(&word.help))).collect();
        let listed = words + &listed(&word.flags);
        let _ = writeln!(text, "        case '{path}'\n            printf '%s\\t%s\\n'{listed}");
    }
    let general = listed(general(program));
    let _ = write!(
        text,
        "    end
    string match -q 'leveret ctl *' -- $at; and printf '%s\\t%s\\n'{general}
end
complete -c leveret -a '(__leveret_offered)'
"
    );
    text
}

/// What the cursor can be behind, but for the program itself, in quotes.
fn known(program: &Word) -> Vec<String> {
    program.paths().iter().skip(1).map(|(path, _)| format!("'{path}'")).collect()
}

/// The options that every command of ctl takes.
fn general(program: &Word) -> &[Flag] {
    program.words.iter().find(|word| word.name == "ctl").map_or(&[], |ctl| &ctl.flags)
}

/// Options of which the values are known, each once.
fn with_values(program: &Word) -> Vec<&Flag> {
    let mut found: Vec<&Flag> = Vec::new();
    for (_, word) in program.paths() {
        for flag in word.flags.iter().filter(|flag| !flag.values.is_empty()) {
            if found.iter().all(|known| known.long != flag.long) {
                found.push(flag);
            }
        }
    }
    found
}

fn written(flag: &Flag) -> Vec<String> {
    let short = flag.short.map(|letter| format!("-{letter}"));
    std::iter::once(format!("--{}", flag.long)).chain(short).collect()
}

fn described_all(flags: &[Flag]) -> String {
    flags.iter().map(|flag| described(&format!("--{}", flag.long), &flag.help)).collect()
}

/// A word and its help, as zsh takes them.
fn described(name: &str, help: &str) -> String {
    format!(" {}", quoted(&format!("{}:{help}", name.replace(':', "\\:"))))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Word {
        let flag = |long: &str, help: &str| Flag { long: long.into(), help: help.into(), ..Flag::default() };
        let formatter = Flag { values: vec!["json".into()], short: Some('f'), ..flag("formatter", "how it looks") };
        let list = Word { name: "list".into(), help: "all of the node's".into(), ..Word::default() };
        let list = Word { flags: vec![flag("local", "of this one")], ..list };
        let ctl = Word { name: "ctl".into(), flags: vec![formatter], words: vec![list], ..Word::default() };
        Word { name: "leveret".into(), words: vec![ctl], ..Word::default() }
    }

    #[test]
    fn each_shell_is_told_words_options_and_values() {
        let bash = script(Shell::Bash, &program());
        assert!(bash.contains("'leveret ctl'|'leveret ctl list') at="), "{bash}");
        assert!(bash.contains("'leveret ctl list') words='' flags='--local' ;;"), "{bash}");
        assert!(bash.contains("--formatter|-f) COMPREPLY=($(compgen -W 'json' -- \"$cur\"))"), "{bash}");
        let zsh = script(Shell::Zsh, &program());
        assert!(zsh.contains("offered=( 'list:all of the node'\\''s' ) flags=( '--formatter:how it looks' )"), "{zsh}");
        let fish = script(Shell::Fish, &program());
        assert!(fish.contains("printf '%s\\t%s\\n' '--local' 'of this one'"), "{fish}");
    }
}
