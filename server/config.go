// Package server answers POST picture -> keypoints over HTTP.
package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/docker/go-units"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
	"go.uber.org/zap/zapcore"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/postprocess"
	"github.com/evopose/evopose/server/batch"
)

// Config is the server's configuration; see docs/configuration.md.
type Config struct {
	Listen    string
	ModelsDir string
	Model     string   // the default model
	Load      []string // models to load at start; they include Model
	Provider  string   // auto, cpu or cuda
	Threads   int      // intra-op threads; 0: physical cores
	Batch     batch.Options
	Decode    postprocess.Decode
	Flip      bool
	MinScore  float64
	Limits    Limits
	Tokens    string // file of bearer tokens; empty: open
	LogLevel  zapcore.Level
	LogJSON   bool
}

// Limits bound what one request may ask for.
type Limits struct {
	Body    int64 // bytes
	Pixels  int64
	Boxes   int
	Timeout time.Duration // for the whole request
}

// key is one configuration key: its default in the file's notation, what is
// allowed, and how its value is taken over. Every value passes through here
// as text, wherever it comes from.
type key struct {
	name, fallback, allowed string
	set                     func(*Config, string) error
}

var errNotAllowed = errors.New("not allowed")

func keys() []key {
	return []key{
		{"listen", ":8080", "an address such as :8080 or 127.0.0.1:8080", setListen},
		{"models_dir", "models", "a folder", func(c *Config, v string) error { c.ModelsDir = v; return nil }},
		{"model", "evopose2d-s", "a model's name", func(c *Config, v string) error { c.Model = v; return notEmpty(v) }},
		{"load", "", "a list of model names", func(c *Config, v string) error { c.Load = splitList(v); return nil }},
		{"provider", "auto", "auto, cpu or cuda", func(c *Config, v string) error { c.Provider = v; return oneOf(v, "auto", "cpu", "cuda") }},
		{"threads", "0", "0 (physical cores) to 256", intKey(0, 256, func(c *Config) *int { return &c.Threads })},
		{"batch.max", "16", "1 to 256 crops", intKey(1, 256, func(c *Config) *int { return &c.Batch.Max })},
		{"batch.delay", "2ms", "0s to 1s, such as 2ms", durationKey(0, time.Second, func(c *Config) *time.Duration { return &c.Batch.Delay })},
		{"batch.queue", "256", "1 to 65536 crops", intKey(1, 65536, func(c *Config) *int { return &c.Batch.Queue })},
		{"pose.decode", "dark", "argmax, quarter or dark", func(c *Config, v string) (err error) { c.Decode, err = postprocess.ParseDecode(v); return err }},
		{"pose.flip", "false", "true or false", func(c *Config, v string) (err error) { c.Flip, err = strconv.ParseBool(v); return err }},
		{"pose.min_score", "0", "0 to 1", func(c *Config, v string) (err error) { c.MinScore, err = unitInterval(v); return err }},
		{"limits.body", "20MiB", "1KiB to 1GiB, such as 20MiB", func(c *Config, v string) (err error) { c.Limits.Body, err = parseBytes(v); return err }},
		{"limits.pixels", "40MP", "0.001MP to 1000MP, such as 40MP", func(c *Config, v string) (err error) { c.Limits.Pixels, err = parsePixels(v); return err }},
		{"limits.boxes", "64", "1 to 4096", intKey(1, 4096, func(c *Config) *int { return &c.Limits.Boxes })},
		{"limits.timeout", "10s", "100ms to 1h, such as 10s", durationKey(100*time.Millisecond, time.Hour, func(c *Config) *time.Duration { return &c.Limits.Timeout })},
		{"auth.tokens_file", "", "a file with one token a line", func(c *Config, v string) error { c.Tokens = v; return nil }},
		{"log.level", "info", "debug, info, warn or error", setLevel},
		{"log.format", "json", "json or console", func(c *Config, v string) error { c.LogJSON = v == "json"; return oneOf(v, "json", "console") }},
	}
}

// EnvPrefix begins the environment variables of configuration keys:
// EVOPOSE_BATCH_MAX is batch.max.
const EnvPrefix = "EVOPOSE_"

// otherEnv are the variables with that prefix that are no configuration keys.
var otherEnv = []string{"EVOPOSE_ORT_LIB", "EVOPOSE_CACHE", "EVOPOSE_CONFIG", "EVOPOSE_HUGE_PAGES"}

// EnvName returns the environment variable of a key.
func EnvName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// LoadConfig merges, from weakest to strongest: the defaults, the YAML file
// (text, called name in messages; may be empty), the environment in the form
// of os.Environ, and the flags by key. Every error names the key, the value
// and what is allowed.
func LoadConfig(name string, text []byte, environ []string, flags map[string]string) (Config, error) {
	k := koanf.New(".")
	if err := k.Load(rawbytes.Provider(text), yaml.Parser()); err != nil {
		return Config{}, fmt.Errorf("%s: %w", name, err)
	}
	values := map[string]string{}
	for key, v := range k.All() {
		if !known(key) {
			return Config{}, fmt.Errorf("%s: unknown key %q; did you mean %q?", name, key, nearest(key))
		}
		values[key] = scalar(v)
	}
	if err := addEnv(values, environ); err != nil {
		return Config{}, err
	}
	return build(values, flags)
}

// build fills a Config from the merged values.
func build(values, flags map[string]string) (Config, error) {
	k := koanf.New(".")
	for _, layer := range []map[string]string{values, flags} {
		m := map[string]any{}
		for key, v := range layer {
			m[key] = v
		}
		if err := k.Load(confmap.Provider(m, "."), nil); err != nil {
			return Config{}, err
		}
	}
	var c Config
	for _, key := range keys() {
		v := key.fallback
		if k.Exists(key.name) {
			v = k.String(key.name)
		}
		if err := key.set(&c, v); err != nil {
			return Config{}, fmt.Errorf("%s is %q: want %s", key.name, v, key.allowed)
		}
	}
	return c, c.validate()
}

// validate checks keys against each other and completes Load.
func (c *Config) validate() error {
	if c.Batch.Queue < c.Batch.Max {
		return fmt.Errorf("batch.queue is %d: want at least batch.max, %d", c.Batch.Queue, c.Batch.Max)
	}
	if 2*c.Limits.Boxes > c.Batch.Queue {
		return fmt.Errorf("limits.boxes is %d: want at most half of batch.queue, %d, so that a request with flip fits", c.Limits.Boxes, c.Batch.Queue/2)
	}
	if !slices.Contains(c.Load, c.Model) {
		c.Load = append([]string{c.Model}, c.Load...)
	}
	if _, err := readTokens(c.Tokens); err != nil {
		return fmt.Errorf("auth.tokens_file is %q: %w", c.Tokens, err)
	}
	return nil
}

// CheckModels reports the first model to load that the registry does not have,
// with the names that it has; short names are resolved.
func (c *Config) CheckModels(r *model.Registry) error {
	c.Model = r.Resolve(c.Model)
	for i, name := range c.Load {
		name = r.Resolve(name)
		c.Load[i] = name
		if _, ok := r.Card(name); ok {
			continue
		}
		if err := r.Broken()[name]; err != nil {
			return fmt.Errorf("model %q: %w", name, err)
		}
		return fmt.Errorf("model %q is not in %s; there are: %s; `evopose export --model m` makes evopose2d-m, likewise s, l and xs",
			name, c.ModelsDir, strings.Join(r.Names(), ", "))
	}
	return nil
}

func addEnv(values map[string]string, environ []string) error {
	names := map[string]string{}
	for _, key := range keys() {
		names[EnvName(key.name)] = key.name
	}
	for _, entry := range environ {
		name, v, _ := strings.Cut(entry, "=")
		key, ok := names[name]
		switch {
		case ok:
			values[key] = v
		case strings.HasPrefix(name, EnvPrefix) && !slices.Contains(otherEnv, name):
			guess := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, EnvPrefix)), "_", ".")
			return fmt.Errorf("unknown environment variable %s; did you mean %s?", name, EnvName(nearest(guess)))
		}
	}
	return nil
}

func known(name string) bool {
	return slices.ContainsFunc(keys(), func(k key) bool { return k.name == name })
}

// nearest returns the known key that is spelt most alike.
func nearest(name string) string {
	best, least := "", 1<<30
	for _, k := range keys() {
		if d := levenshtein.ComputeDistance(name, k.name); d < least {
			best, least = k.name, d
		}
	}
	return best
}

// scalar writes a YAML value as text, a list separated by commas.
func scalar(v any) string {
	list, ok := v.([]any)
	if !ok {
		if v == nil {
			return ""
		}
		return fmt.Sprint(v)
	}
	parts := make([]string, len(list))
	for i, item := range list {
		parts[i] = fmt.Sprint(item)
	}
	return strings.Join(parts, ",")
}

func splitList(v string) []string {
	var list []string
	for part := range strings.SplitSeq(v, ",") {
		if part = strings.TrimSpace(part); part != "" && !slices.Contains(list, part) {
			list = append(list, part)
		}
	}
	return list
}

func setListen(c *Config, v string) error {
	c.Listen = v
	_, port, err := net.SplitHostPort(v)
	if err != nil {
		return err
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err
}

func setLevel(c *Config, v string) error {
	if err := oneOf(v, "debug", "info", "warn", "error"); err != nil {
		return err
	}
	return c.LogLevel.Set(v)
}

func notEmpty(v string) error {
	if v == "" {
		return errNotAllowed
	}
	return nil
}

func oneOf(v string, allowed ...string) error {
	if !slices.Contains(allowed, v) {
		return errNotAllowed
	}
	return nil
}

func intKey(low, high int, field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < low || n > high {
			return errNotAllowed
		}
		*field(c) = n
		return nil
	}
}

func durationKey(low, high time.Duration, field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < low || d > high {
			return errNotAllowed
		}
		*field(c) = d
		return nil
	}
}

// unitInterval reads a number from 0 to 1.
func unitInterval(v string) (float64, error) {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return 0, errNotAllowed
	}
	return f, nil
}

func parseBytes(v string) (int64, error) {
	n, err := units.RAMInBytes(v)
	if err != nil || n < 1<<10 || n > 1<<30 {
		return 0, errNotAllowed
	}
	return n, nil
}

// parsePixels reads a number of millions of pixels, such as "40MP".
func parsePixels(v string) (int64, error) {
	number, ok := strings.CutSuffix(v, "MP")
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(f >= 0.001 && f <= 1000) {
		return 0, errNotAllowed
	}
	return int64(f * 1e6), nil
}

// readTokens reads the bearer tokens of a file, one a line; empty lines and
// lines that begin with # do not count. No file name means no tokens.
func readTokens(file string) ([]string, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var tokens []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			tokens = append(tokens, line)
		}
	}
	if len(tokens) == 0 {
		return nil, errors.New("it holds no token; leave the key empty to let everybody in")
	}
	return tokens, nil
}
