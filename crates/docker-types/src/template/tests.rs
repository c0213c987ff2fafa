//! Every expectation here is what docker 28.2's own `inspect --format` printed for the same document.

use proptest::prelude::*;

use super::*;

const DOCUMENT: &str = r#"{"Id":"abc","Name":"/web",
    "Config":{"Labels":{"a":"b","k.l":"v"},"Env":["A=1","B=2"],"Cmd":null},
    "State":{"Running":true,"ExitCode":3,"Pid":12},
    "NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],"81/tcp":null},
        "Networks":{"bridge":{"IPAddress":"1.2.3.4"}}},
    "HostConfig":{"Memory":5,"CpuShares":0},"Mounts":[]}"#;

fn run(template: &str) -> String {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    match Template::parse(template).and_then(|template| template.render(&document, &Inspected)) {
        Ok(text) => text,
        Err(error) => error.to_string(),
    }
}

#[test]
fn templates_print_what_docker_prints() {
    for (template, text) in [
        ("{{.Id}}", "abc"),
        ("{{.ID}}", "abc"),
        ("{{json .State.Pid}}", "12"),
        ("{{json .State}}", "{\"Running\":true,\"ExitCode\":3,\"Pid\":12}"),
        ("{{.Config.Labels.a}} {{.Config.Labels.zz}}", "b <no value>"),
        ("{{index .Config.Labels \"k.l\"}}|{{index .Config.Labels \"zz\"}}|", "v||"),
        ("{{range .Config.Env}}{{.}}{{println}}{{end}}", "A=1\nB=2\n"),
        ("{{range $i, $e := .Config.Env}}{{$i}}={{$e}};{{else}}none{{end}}", "0=A=1;1=B=2;"),
        ("{{range .Mounts}}x{{else}}none{{end}}", "none"),
        (
            "{{range $p, $c := .NetworkSettings.Ports}}{{$p}}{{if $c}}->{{(index $c 0).HostPort}}{{end}} {{end}}",
            "80/tcp->8080 81/tcp ",
        ),
        ("{{if .State.Running}}up{{else if .X}}a{{else}}down{{end}}", "up"),
        ("{{if eq .State.ExitCode 3}}three{{end}}", "three"),
        ("{{with .State}}{{.Pid}}{{end}}", "12"),
        ("{{.State.Pid | printf \"%05d|%q\" }}", "00012|%!q(MISSING)"),
        (
            "{{printf \"%s-%d-%v-%q-%5s-%-5s|\" .Name 3 true \"x\" \"a\" \"b\"}}",
            "/web-3-true-\"x\"-    a-b    |",
        ),
        ("{{len .Config.Env}} {{slice .Name 1}} {{slice .Name 1 2}}", "2 web w"),
        ("{{.Id}}}}", "abc}}"),
        ("{{.Config.Env}} {{.Config.Labels}}", "[A=1 B=2] map[a:b k.l:v]"),
        (
            "{{upper .Name | lower | title}} {{join .Config.Env \",\"}} {{split \"a,b\" \",\"}}",
            "/web A=1,B=2 [a b]",
        ),
        ("{{truncate .Name 2}}{{pad .Name 2 3}}|", "/w  /web   |"),
        ("{{- \"a\" -}}  b", "ab"),
        ("a {{- /* c */ -}} x", "ax"),
        ("{{and .Id .Name}} {{or \"\" .Name}} {{not .Id}}", "/web /web false"),
        ("{{len .State}}", "3"),
        ("{{printf \"%d\" .Name}}", "%!d(string=/web)"),
        ("{{range .State.Pid}}x{{end}}", "xxxxxxxxxxxx"),
        ("{{lt 1 2}} {{ge \"b\" \"a\"}} {{ne 1 1}}", "true true false"),
        ("{{json .Config.Cmd}} {{json .Name}}", "null \"/web\""),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "1.2.3.4"),
        ("{{.NetworkSettings.Networks.bridge.IPAddress}}", "1.2.3.4"),
        ("{{'a'}}", "97"),
        ("{{print 1 2 \"a\" \"b\" 3}}", "1 2ab3"),
        ("{{index .Name 0}}", "47"),
        ("{{.State.Running | not}}", "false"),
        ("{{(.State).Pid}}", "12"),
        ("{{$x := 5}}{{$x}}{{$x = 6}}{{$x}}", "56"),
        ("{{range $i, $e := .Config.Env}}{{if $i}}{{break}}{{end}}{{$e}}{{end}}", "A=1"),
        ("{{range .Config.Env}}{{$.Id}}{{end}}", "abcabc"),
        ("plain", "plain"),
        ("", ""),
    ] {
        assert_eq!(run(template), text, "{template}");
    }
}

#[test]
fn errors_are_dockers() {
    for (template, message) in [
        (
            "{{.State.Running}} {{.State.Foo}}",
            "template: :1:27: executing \"\" at <.State.Foo>: map has no entry for key \"Foo\"",
        ),
        ("{{.Foo.Bar}}", "template: :1:6: executing \"\" at <.Foo.Bar>: map has no entry for key \"Foo\""),
        ("{{foo}}", "template: :1: function \"foo\" not defined"),
        ("{{.Id", "template: :1: unclosed action"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{if}}x{{end}}", "template: :1: missing value for if"),
        ("{{range}}{{end}}", "template: :1: missing value for range"),
        ("{{if .Id}}x", "template: :1: unexpected EOF"),
        ("{{$x}}", "template: :1: undefined variable \"$x\""),
        ("{{\"abc}}", "template: :1: unterminated quoted string"),
        (
            "{{eq .Name 3}}",
            "template: :1:2: executing \"\" at <eq .Name 3>: error calling eq: incompatible types for comparison",
        ),
        (
            "{{index .Config.Env 5}}",
            "template: :1:2: executing \"\" at <index .Config.Env 5>: error calling index: index out of range: 5",
        ),
        (
            "{{.Config.Labels.a.b}}",
            "template: :1:9: executing \"\" at <.Config.Labels.a.b>: can't evaluate field b in type interface {}",
        ),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
        (
            "{{eq 1 1.0}}",
            "template: :1:2: executing \"\" at <eq 1 1.0>: error calling eq: incompatible types for comparison",
        ),
        ("{{len 3}}", "template: :1:2: executing \"\" at <len 3>: error calling len: len of type int"),
        ("{{len}}", "template: :1:2: executing \"\" at <len>: wrong number of args for len: want 1 got 0"),
        ("{{|}}", "template: :1: unexpected \"|\" in command"),
        ("{{@}}", "template: :1: unexpected \"@\" in command"),
        ("{{.Id .Name}}", "template: :1:2: executing \"\" at <.Id>: Id is not a method but has arguments"),
        (
            "{{\"x\" .Name}}",
            "template: :1:2: executing \"\" at <\"x\">: can't give argument to non-function \"x\"",
        ),
        ("{{( .State.Pid }}", "template: :1: unclosed left paren"),
        ("{{nil}}", "template: :1:2: executing \"\" at <nil>: nil is not a command"),
    ] {
        assert_eq!(run(template), message, "{template}");
    }
}

#[test]
fn deep_nesting_is_refused_not_a_crash() {
    let parens = format!("{{{{{}1{}}}}}", "(".repeat(50_000), ")".repeat(50_000));
    assert!(run(&parens).contains("depth exceeded"));
    let blocks = "{{if true}}".repeat(50_000);
    assert!(run(&blocks).contains("depth exceeded"));
    let elses = "{{if false}}{{else if false}}".to_owned() + &"{{else if false}}".repeat(50_000);
    assert!(run(&elses).contains("depth exceeded"));
}

#[test]
fn methods_and_fields_are_found() {
    struct Row;
    impl Shape for Row {
        fn missing(&self, key: &str) -> String {
            format!("no {key}")
        }
        fn call(&self, name: &str, args: &[Value]) -> Option<Value> {
            (name == "Label").then(|| Value::from(format!("<{}>", args[0].as_str().unwrap_or_default())))
        }
    }
    let template = Template::parse("{{.Names}}: {{.Label \"x\"}} {{if .State}}{{end}}").unwrap();
    assert_eq!(template.fields(), ["Names", "Label", "State"]);
    let row = serde_json::json!({"Names": "web", "State": "up"});
    assert_eq!(template.render(&row, &Row).unwrap(), "web: <x> ");
}

proptest! {
    #[test]
    fn any_text_is_rendered_or_refused(text in "[{}|.$:=()\"a-z0-9 %-]{0,40}") {
        run(&text);
    }

    #[test]
    fn any_action_is_rendered_or_refused(text in "(\\{\\{(if|else|end|range|with|\\.|\\.Id|index|printf|\\$x := 1|\\$x|\\(|\\)|\\||len| )*\\}\\}| a ){0,8}") {
        run(&text);
    }

    #[test]
    fn text_without_braces_stays(text in "[^{}]{0,40}") {
        prop_assert_eq!(run(&text), text);
    }
}
