package jobs

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// searchesBucket is the key-value bucket that lists a broker's searches.
const searchesBucket = "evopose-searches"

// idForm is what a search's ID may be: it goes into the names of streams and
// into subjects.
var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// CheckID reports what cannot be a search's ID.
func CheckID(id string) error {
	_, err := newNames(id)
	return err
}

// names are the names on the broker of what belongs to one search.
type names struct{ id string }

func newNames(id string) (names, error) {
	if !idForm.MatchString(id) {
		return names{}, fmt.Errorf("search %q: want an ID of 1 to 64 letters, digits, - and _", id)
	}
	return names{id}, nil
}

func (n names) stream() string   { return n.bucket() + "-jobs" }
func (n names) consumer() string { return "workers" }
func (n names) bucket() string   { return "evopose-" + n.id }

func (n names) subject(kind, of string) string { return "evopose." + n.id + "." + kind + "." + of }

func (n names) job(id int) string      { return n.subject("job", strconv.Itoa(id)) }
func (n names) holding(id int) string  { return n.subject("holding", strconv.Itoa(id)) }
func (n names) progress(id int) string { return n.subject("progress", strconv.Itoa(id)) }
func (n names) trouble() string        { return n.subject("trouble", "all") }

func resultKey(job int) string { return "result." + strconv.Itoa(job) }
func triesKey(job int) string  { return "tries." + strconv.Itoa(job) }

// lastNumber is the job's ID at the end of a subject or key.
func lastNumber(name string) (int, error) {
	return strconv.Atoi(name[strings.LastIndexByte(name, '.')+1:])
}
