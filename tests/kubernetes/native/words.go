package main

import (
	"os"
	"path/filepath"
	"strings"
)

// A command of a unit.
type command1 struct {
	path      string
	arguments []string
	// Its failure is none.
	ignore bool
	// It runs as root, whatever the unit says.
	privileged bool
}

// A word of a command line, and whether it stood in quotes.
type word struct {
	text   string
	quoted bool
}

// split splits a line as systemd.service(5) does: at spaces, with quotes and backslashes.
func split(line string) []word {
	var words []word
	var text strings.Builder
	inside, quote, quoted := false, rune(0), false
	runes := []rune(line)
	for at := 0; at < len(runes); at++ {
		c := runes[at]
		switch {
		case c == '\\' && at+1 < len(runes) && quote != '\'':
			at++
			text.WriteString(unescape(runes[at]))
			inside = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inside, quoted = c, true, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inside {
				words = append(words, word{text.String(), quoted})
				text.Reset()
				inside, quoted = false, false
			}
		default:
			text.WriteRune(c)
			inside = true
		}
	}
	if inside {
		words = append(words, word{text.String(), quoted})
	}
	return words
}

func unescape(c rune) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 's':
		return " "
	case '"', '\'', '\\', ' ':
		return string(c)
	}
	return "\\" + string(c)
}

// parseCommand reads the value of ExecStart and its like, with the unit's environment.
func (u *unit) parseCommand(line string, environment map[string]string) command1 {
	var c command1
	expand, firstIsName := true, false
	for line != "" && strings.ContainsRune("-@:+!", rune(line[0])) {
		switch line[0] {
		case '-':
			c.ignore = true
		case '@':
			firstIsName = true
		case ':':
			expand = false
		case '+', '!':
			c.privileged = true
		}
		line = line[1:]
	}
	for index, word := range split(u.specifiers(line)) {
		if index == 0 || !expand {
			c.arguments = append(c.arguments, word.text)
		} else {
			c.arguments = append(c.arguments, expandWord(word, environment)...)
		}
	}
	if len(c.arguments) == 0 {
		fail("%s: a command that is none: %s", u.name, line)
	}
	c.path = lookUp(c.arguments[0])
	if firstIsName {
		c.arguments = c.arguments[1:]
	}
	return c
}

// expandWord puts in variables: `$NAME` alone becomes as many words as it has, `${NAME}` a part of one.
func expandWord(w word, environment map[string]string) []string {
	if name, found := strings.CutPrefix(w.text, "$"); found && !w.quoted && isName(name) {
		return strings.Fields(environment[name])
	}
	text, result := w.text, ""
	for {
		before, after, found := strings.Cut(text, "$")
		result += before
		if !found {
			return []string{result}
		}
		if rest, found := strings.CutPrefix(after, "$"); found {
			result, text = result+"$", rest
		} else if name, rest, found := strings.Cut(strings.TrimPrefix(after, "{"), "}"); found && strings.HasPrefix(after, "{") {
			result, text = result+environment[name], rest
		} else {
			result, text = result+"$", after
		}
	}
}

func isName(text string) bool {
	for _, c := range text {
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return text != ""
}

// lookUp finds a program without a folder as systemd does.
func lookUp(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, folder := range filepath.SplitList(unitPath) {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return name
}

// environment is what the unit's commands get, and the environment file that is missing, if one is.
func (u *unit) environment() (map[string]string, string) {
	environment := map[string]string{"PATH": unitPath, "LANG": "C.UTF-8", "SYSTEMD_EXEC_PID": ""}
	for _, value := range u.values["Service.Environment"] {
		for _, word := range split(u.specifiers(value)) {
			name, value, _ := strings.Cut(word.text, "=")
			environment[name] = value
		}
	}
	for _, path := range u.values["Service.EnvironmentFile"] {
		path, optional := strings.CutPrefix(path, "-")
		found, _ := filepath.Glob(u.specifiers(path))
		if len(found) == 0 && !optional {
			return nil, path
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			check(err, "reading an environment file")
			for line := range strings.Lines(string(text)) {
				line = strings.TrimSpace(line)
				name, value, found := strings.Cut(line, "=")
				if found && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ";") {
					environment[strings.TrimSpace(name)] = unquote(strings.TrimSpace(value))
				}
			}
		}
	}
	delete(environment, "SYSTEMD_EXEC_PID")
	return environment, ""
}

func unquote(value string) string {
	if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
		inner := value[1 : len(value)-1]
		if value[0] == '"' {
			inner = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\$`, `$`).Replace(inner)
		}
		return inner
	}
	return value
}
