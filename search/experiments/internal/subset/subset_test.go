package subset

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evopose/evopose/model"
	"github.com/evopose/evopose/search/train"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	var people, images []string
	for i := 1; i <= 20; i++ {
		name := fmt.Sprintf("%d.jpg", i)
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		images = append(images, fmt.Sprintf(`{"id":%d,"file_name":%q,"width":64,"height":64}`, i, name))
		labelled := 2 * min(i%5, 1) // every fifth has no keypoint
		people = append(people, fmt.Sprintf(`{"id":%d,"image_id":%d,"bbox":[1,2,30,40],"keypoints":[%s]}`, 100+i, i,
			strings.TrimSuffix(strings.Repeat(fmt.Sprintf("3,4,%d,", labelled), model.Keypoints), ",")))
	}
	set := train.DataSet{Annotations: filepath.Join(dir, "all.json"), Images: dir}
	text := fmt.Sprintf(`{"images":[%s],"annotations":[%s]}`, strings.Join(images, ","), strings.Join(people, ","))
	if err := os.WriteFile(set.Annotations, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func(people int, seed uint64) string {
		chosen, err := Write(set, people, seed, filepath.Join(dir, "chosen.json"))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(chosen.Annotations)
		if err != nil {
			t.Fatal(err)
		}
		if n, m := strings.Count(string(data), `"keypoints":[3,4,2,`), strings.Count(string(data), "file_name"); n != m || n != min(people, 16)+16*max(0, 1-people) {
			t.Errorf("%d people of %d asked for, %d pictures", n, people, m)
		}
		return string(data)
	}
	if five := read(5, 1); five != read(5, 1) || five == read(5, 2) {
		t.Error("the people are not a function of the seed")
	}
	read(0, 1)
	read(99, 1)
}
