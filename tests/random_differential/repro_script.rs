//! A scene as a shell script: what to do by hand when it fails.

use shell_words::quote;

use super::case_scenario::Scenario;
use super::tree_entry::here_script;

/// The tree, then the command for the program that the script is given, then the tree as it is afterwards.
pub(super) fn script(scene: &Scenario) -> String {
    let mut lines: Vec<String> = vec![
        "set -e; umask 022".into(),
        "top=$(mktemp -d /dev/shm/mmapcp-case-XXXXXX); chmod 755 \"$top\"; trap 'rm -rf \"$top\"' EXIT"
            .into(),
        "mkdir -p \"$top/1/2/3/4/5/6/7/8/9/tree\"; cd \"$top/1/2/3/4/5/6/7/8/9/tree\"; chmod 777 . ..".into(),
    ];
    lines.extend(scene.things.iter().map(|thing| thing.make_script()));
    for thing in scene.things.iter().rev() {
        lines.extend(thing.attributes_script());
    }
    lines.push("before=$(find .. -printf '%P %i\\n' | sort)".into());
    lines.push("set +e".into());
    lines.push(command(scene));
    lines.push("echo \"exit status $?\"".into());
    lines.push(
        "find .. -printf '%P %y %m %U:%G %n %T+ %A+ %l %b %i\\n' | sort; echo; echo before:; echo \"$before\"".into(),
    );
    lines.join("\n") + "\n"
}

fn command(scene: &Scenario) -> String {
    let environment = scene
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={}", quote(value)));
    let words = scene.words.iter().map(|word| here_script(word));
    let user = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let mut all = vec!["env -i PATH=\"$PATH\"".to_owned()];
    all.extend(environment);
    if scene.nobody {
        all.push(user.into());
    }
    all.push("\"$1\"".into());
    all.extend(words);
    format!(
        "printf %s {} | (umask {:04o}; {})",
        quote(&scene.answers),
        scene.umask,
        all.join(" ")
    )
}
