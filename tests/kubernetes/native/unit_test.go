package main

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// unitOf reads a unit and its drop-ins from texts.
func unitOf(t *testing.T, texts ...string) *unit {
	t.Helper()
	u := &unit{name: "x.service", values: map[string][]string{}}
	for _, text := range texts {
		path := filepath.Join(t.TempDir(), "x.service")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		u.read(path)
	}
	return u
}

func TestDropInsAddAndTakeBack(t *testing.T) {
	u := unitOf(t,
		"[Unit]\nConditionPathExists=/no/such/file\nConditionFileIsExecutable=|/no/such/file\nAfter=a.service \\\n  b.service\n[Service]\nExecStart=one\nEnvironmentFile=/no/such/file\n",
		"# a comment\n[Unit]\nConditionPathExists=\nAfter=c.service\n[Service]\nExecStart=\nExecStart=two --flag\n")
	if why := u.conditions(); why != "" {
		t.Errorf("an empty condition leaves %s", why)
	}
	if got := u.words("Unit.After"); !reflect.DeepEqual(got, []string{"a.service", "b.service", "c.service"}) {
		t.Errorf("After: %v", got)
	}
	if got := u.values["Service.ExecStart"]; !reflect.DeepEqual(got, []string{"two --flag"}) {
		t.Errorf("ExecStart: %v", got)
	}
	if _, missing := u.environment(); missing != "/no/such/file" {
		t.Errorf("a mandatory environment file is missing, and %q is said", missing)
	}
}

func TestConditions(t *testing.T) {
	here := t.TempDir()
	for _, row := range []struct {
		lines string
		holds bool
	}{
		{"ConditionPathExists=" + here, true},
		{"ConditionPathExists=!" + here, false},
		{"ConditionPathExists=" + here + "\nConditionPathExists=/no/such/file", false},
		{"ConditionPathExists=|/no/such/file\nConditionPathExists=|" + here, true},
		{"ConditionPathExists=|/no/such/file\nConditionFileIsExecutable=|/no/such/file", false},
		{"ConditionPathExists=" + here + "\nConditionFileIsExecutable=|/no/such/file", false},
		{"ConditionFileIsExecutable=" + here, false},
		{"ConditionPathExistsGlob=" + filepath.Dir(here) + "/*", true},
	} {
		if got := unitOf(t, "[Unit]\n"+row.lines+"\n").conditions() == ""; got != row.holds {
			t.Errorf("%s: %v", row.lines, got)
		}
	}
}

func TestCommandsAreSplitAsSystemdSplitsThem(t *testing.T) {
	environment := map[string]string{"ARGS": "--a --b=c", "ONE": "two words", "EMPTY": ""}
	for line, expected := range map[string][]string{
		`run $ARGS ${ONE} x${ONE}y $EMPTY`: {"run", "--a", "--b=c", "two words", "xtwo wordsy"},
		`run "$ARGS" 'a b' c\ d`:           {"run", "$ARGS", "a b", "c d"},
		`run $$HOME %%`:                    {"run", "$HOME", "%"},
		`-run --name=%N`:                   {"run", "--name=x"},
		`:run $ARGS`:                       {"run", "$ARGS"},
		`/bin/sh -c 'exit "1"'`:            {"/bin/sh", "-c", `exit "1"`},
	} {
		if got := unitOf(t).parseCommand(line, environment).arguments; !reflect.DeepEqual(got, expected) {
			t.Errorf("%s: %q", line, got)
		}
	}
	if !unitOf(t).parseCommand("-run", nil).ignore {
		t.Error("a command whose failure is none")
	}
}

func TestRestarts(t *testing.T) {
	for _, row := range []struct {
		text  string
		end   end
		again bool
	}{
		{"Restart=always", end{clean: true}, true},
		{"Restart=on-failure", end{clean: true}, false},
		{"Restart=on-failure", end{code: 1}, true},
		{"Restart=on-failure\nRestartPreventExitStatus=3", end{code: 3}, false},
		{"", end{code: 1}, false},
	} {
		if got := unitOf(t, "[Service]\n"+row.text+"\n").restarts(row.end); got != row.again {
			t.Errorf("%s after %+v: %v", row.text, row.end, got)
		}
	}
}

func TestTimes(t *testing.T) {
	u := unitOf(t, "[Service]\nA=90\nB=5min\nC=1min 30s\nD=infinity\nE=500ms\n")
	for key, expected := range map[string]time.Duration{
		"A": 90 * time.Second, "B": 5 * time.Minute, "C": 90 * time.Second, "D": 0, "E": 500 * time.Millisecond, "F": time.Hour,
	} {
		if got := u.span("Service."+key, time.Hour); got != expected {
			t.Errorf("%s: %v", key, got)
		}
	}
}

func TestSettingsOfTheHostAreMadeOnce(t *testing.T) {
	for _, edit := range edits {
		text := "SystemdCgroup = true\n[plugins.\"io.containerd.cri.v1.runtime\".cni]\ncgroupDriver: systemd\nimageGCHighThresholdPercent: 95\n    maxconn 100000\n"
		once := edit.edit(text)
		if once == text {
			t.Errorf("%s: %s changes nothing", edit.path, edit.why)
		}
		if edit.edit(once) != once {
			t.Errorf("%s: %s is made again at the next start", edit.path, edit.why)
		}
	}
}

func TestADocumentIsMadeOnlyWhereThereIsNone(t *testing.T) {
	for text, expected := range map[string]string{
		"kind: \"A\"\n":                     "kind: \"A\"\n---\napiVersion: v\nkind: B\nx: 1\n",
		"kind: A\n---\nkind: \"B\"\ny: 2\n": "kind: A\n---\nkind: \"B\"\nx: 1\ny: 2\n",
		"kind: B\nx: 1\n":                   "kind: B\nx: 1\n",
	} {
		if got := inDocument(text, "v", "B", "x: 1"); got != expected {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}
