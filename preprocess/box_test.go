package preprocess

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestBoxValidate(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	tests := []struct {
		box  Box
		want string // "": valid
	}{
		{Box{0, 0, 1, 1}, ""},
		{Box{-1e9, 1e9, 1e9, 1e-6}, ""},
		{Box{nan, 0, 1, 1}, "x NaN: must be a finite number"},
		{Box{0, -inf, 1, 1}, "y -Inf: must be a finite number"},
		{Box{0, 0, inf, 1}, "width +Inf: must be a finite number"},
		{Box{0, 0, 1, nan}, "height NaN: must be a finite number"},
		{Box{0, 0, 0, 1}, "width 0: must be > 0"},
		{Box{0, 0, 1, -5}, "height -5: must be > 0"},
		{Box{1.5e9, 0, 1, 1}, "x 1.5e+09: must be at most 1e+09 pixels from 0"},
		{Box{0, 0, 1, 1e300}, "height 1e+300: must be at most 1e+09 pixels from 0"},
	}
	for _, tt := range tests {
		if got := message(tt.box.Validate()); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.box, got, tt.want)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestParseBoxes(t *testing.T) {
	tests := []struct {
		text string
		want []Box
		err  string
	}{
		{"", nil, ""},
		{"  ", nil, ""},
		{";", nil, ""},
		{"1,2,3,4", []Box{{1, 2, 3, 4}}, ""},
		{" -1.5, 2e1 ,3,.5 ; 0,0,1,1;", []Box{{-1.5, 20, 3, 0.5}, {0, 0, 1, 1}}, ""},
		{"1,2,3,4;0,0,-5,1;0,0,1,1", nil, "box 2 of 3: width -5: must be > 0"},
		{"1,2,3", nil, `box 1 of 1: "1,2,3": want 4 numbers, x,y,width,height; got 3`},
		{"1,2,3,4;;1,2,3,4", nil, `box 2 of 3: "": want 4 numbers, x,y,width,height; got 1`},
		{"1,2,3,4,5", nil, `box 1 of 1: "1,2,3,4,5": want 4 numbers, x,y,width,height; got 5`},
		{"1,b,3,4", nil, `box 1 of 1: y "b": must be a number`},
		{"1,2,,4", nil, `box 1 of 1: width "": must be a number`},
		{"1,2,3,4;1,2,NaN,4", nil, "box 2 of 2: width NaN: must be a finite number"},
		{"1,2,3,1e999", nil, "box 1 of 1: height +Inf: must be a finite number"},
		{"x" + strings.Repeat("1", 90), nil, `box 1 of 1: "x` + strings.Repeat("1", 39) + `"...: want 4 numbers, x,y,width,height; got 1`},
		{strings.Repeat("1,2,3,4;", MaxBoxes+1), nil, "4097 boxes: must be at most 4096"},
	}
	for _, tt := range tests {
		got, err := ParseBoxes(tt.text)
		if !slices.Equal(got, tt.want) || message(err) != tt.err {
			t.Errorf("%.60q: %v, %q; want %v, %q", tt.text, got, message(err), tt.want, tt.err)
		}
	}
}

func TestValidateBoxes(t *testing.T) {
	good := Box{0, 0, 1, 1}
	tests := []struct {
		boxes []Box
		want  string
	}{
		{nil, ""},
		{[]Box{good, good}, ""},
		{[]Box{good, {0, 0, 0, 1}}, "box 2 of 2: width 0: must be > 0"},
		{slices.Repeat([]Box{good}, MaxBoxes+1), "4097 boxes: must be at most 4096"},
	}
	for _, tt := range tests {
		if got := message(ValidateBoxes(tt.boxes)); got != tt.want {
			t.Errorf("%d boxes: %q, want %q", len(tt.boxes), got, tt.want)
		}
	}
}

// FuzzBoxes checks that whatever parses is valid, and that an error is one
// short line that says which box.
func FuzzBoxes(f *testing.F) {
	for _, seed := range []string{"", "1,2,3,4", "1,2,3,4;5,6,7,8;", "NaN,0,1,1", "0x1p3,1e308,1e-320,1", "1,2,3", "a,b,c,d", ";;,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		boxes, err := ParseBoxes(text)
		if err == nil {
			if err := ValidateBoxes(boxes); err != nil {
				t.Fatalf("%q gave boxes that are not valid: %v", text, err)
			}
			return
		}
		if boxes != nil {
			t.Fatalf("%q gave boxes and an error", text)
		}
		if msg := err.Error(); !strings.Contains(msg, "box") || strings.ContainsAny(msg, "\n\r") || len(msg) > 400 {
			t.Fatalf("%q: message %q", text, msg)
		}
	})
}
