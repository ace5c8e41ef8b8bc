#!/bin/bash
# Guess: a schema that schemars derives from a type takes what serde reads into that type, and refuses what serde refuses: numbers out of
# range, fields that are not known.
# schemars 1.2.3 with serde_json 1.0.154, looked at with jsonschema 4.25.1 of PyPI: bounds are there for u8, not for u32, i32 and u64, whose
# "format" is not checked unasked: 5000000000 is a good u32. 1.0 is a good integer for JSON Schema, and none for serde. A Duration
# takes further fields in the schema, and none in serde. The other way round: a name by #[serde(alias)] is refused by the schema of a type with
# deny_unknown_fields, and read by serde. So: a file that the schema takes is read once more by the program before it counts as
# good; bounds that matter are written out (#[schemars(range)]).
. "$(dirname "$0")/lib.sh"
crate_trial 'schemars = "=1.2.3"' \
	'serde = { version = "=1.0.229", features = ["derive"] }' \
	'serde_json = "=1.0.154"' <<'C'
use std::io::BufRead;
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Trial {
    byte: Option<u8>,
    jobs: Option<u32>,
    code: Option<i32>,
    size: Option<u64>,
    limit: Option<std::time::Duration>,
    #[serde(alias = "former")]
    name: Option<String>,
}
fn main() {
    println!("{}", serde_json::to_string(&schemars::schema_for!(Trial)).unwrap());
    for line in std::io::stdin().lock().lines() {
        println!("{}", serde_json::from_str::<Trial>(&line.unwrap()).is_ok());
    }
}
C
cat >"$T/values" <<'C'
{"byte": 255, "jobs": 4, "code": -1, "name": "x"}
{"byte": 256}
{"jobs": 5000000000}
{"code": 5000000000}
{"size": 18446744073709551616}
{"jobs": 4.0}
{"limit": {"secs": 1, "nanos": 0, "more": 1}}
{"more": 1}
{"former": "x"}
C
python3 -m venv "$T/python"
"$T/python/bin/pip" install --quiet --disable-pip-version-check jsonschema==4.25.1
(cd "$T/trial" && cargo run --quiet <"$T/values" >"$T/told")
sed -n 1p "$T/told" >"$T/schema"
"$T/python/bin/python" - "$T/schema" "$T/values" >"$T/valid" <<'C'
import json, sys
import jsonschema
check = jsonschema.Draft202012Validator(json.load(open(sys.argv[1])))
for line in open(sys.argv[2]):
    print("true" if check.is_valid(json.loads(line)) else "false")
C
while read -r expected; do
	number=$((${number:-0} + 1))
	same "$(sed -n "${number}p" "$T/values"): schema, serde" "$expected" "$(sed -n "${number}p" "$T/valid") $(sed -n "$((number + 1))p" "$T/told")"
done <<'C'
true true
false false
true false
true false
true false
true false
true false
false false
false true
C
