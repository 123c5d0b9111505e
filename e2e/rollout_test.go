package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
)

// rollout is what the API says of one.
type rollout struct {
	ID, ReleaseID, Status, Reason string
	Percent                       int
}

func says(words string) string {
	return fmt.Sprintf("export default { fetch() { return new Response(%q, {headers: {'Cache-Control': 'public, max-age=60'}}); } }", words)
}

func (s *system) rollout(project, id string) rollout {
	s.t.Helper()
	var r rollout
	s.must(http.MethodGet, "/projects/"+project+"/rollouts/"+id, nil, &r)
	return r
}

// startRollout begins one and waits until its release has a first share.
func (s *system) startRollout(project, release string, steps []int, every string) rollout {
	s.t.Helper()
	var r rollout
	status, body := s.call(http.MethodPost, "/projects/"+project+"/rollouts", map[string]any{"releaseId": release, "steps": steps, "every": every}, nil)
	require.Equal(s.t, http.StatusCreated, status, body)
	decode(s.t, body, &r)
	s.wait(patience, "the first step of the rollout", func() bool { return s.rollout(project, r.ID).Percent >= steps[0] })
	return r
}

// bucket is the visitors whose cookie says so.
func bucket(n int) []string { return []string{"Cookie", "slipway_bucket=" + strconv.Itoa(n)} }

// everybodyGets waits until a dispatcher gives everybody the same, first and last
// visitors, and then checks all of them.
func (s *system) everybodyGets(dispatcher, worker, words string) {
	s.t.Helper()
	s.wait(patience, dispatcher+" to say "+words, func() bool {
		return s.visit(dispatcher, worker, "", bucket(0)...).text() == words && s.visit(dispatcher, worker, "", bucket(99)...).text() == words
	})
	for n := range 100 {
		got := s.visit(dispatcher, worker, "", bucket(n)...)
		require.Equal(s.t, http.StatusOK, got.StatusCode)
		require.Equal(s.t, words, got.text(), "bucket %d at %s", n, dispatcher)
	}
	stranger := s.visit(dispatcher, worker, "")
	require.Empty(s.t, stranger.Header.Values("Set-Cookie"), "no rollout, no cookie")
	require.Equal(s.t, "public, max-age=60", stranger.Header.Get("Cache-Control"), "and caches may keep it")
}

// rollsOut brings one release live step by step, and has another one go back.
func rollsOut(s *system, dispatchers []string) {
	const name = "stepwise"
	project := s.newProject(name)
	s.succeed(s.deploy(project, worker(name, says("first"))))
	second := s.preview(project, name, says("second"))
	third := s.preview(project, name, `export default { fetch() { throw new Error("the third is broken"); } }`)
	for _, dispatcher := range dispatchers {
		s.everybodyGets(dispatcher, name, "first")
	}

	const share = 30
	// The first step of this one lasts until everybody was asked.
	asked := s.startRollout(project, second, []int{share, 100}, "1h")
	s.requireShares(project, name, asked, share, dispatchers)
	s.must(http.MethodPost, "/projects/"+project+"/rollouts/"+asked.ID+"/cancel", nil, nil)
	s.wait(patience, "the rollout to be canceled", func() bool { return s.rollout(project, asked.ID).Status == "canceled" })

	good := s.startRollout(project, second, []int{share, 100}, "10s")
	s.wait(patience, "the rollout to end", func() bool { return s.rollout(project, good.ID).Status != "running" })
	require.Equal(s.t, "completed", s.rollout(project, good.ID).Status)
	for _, dispatcher := range dispatchers {
		s.everybodyGets(dispatcher, name, "second")
	}

	visited := s.lookAt(name, dispatchers)
	stdout, stderr, err := s.slipway("rollout", "--project", project, "--steps", "50,100", "--every", "15s", third)
	fine, failed := visited()
	require.Error(s.t, err, "a rollout that goes back fails the command")
	require.Empty(s.t, stdout)
	require.Contains(s.t, stderr, "is reverted at 0 %.")
	require.Regexp(s.t, `\d+\.\d % of its \d+ answers were errors`, stderr)
	require.NotEmpty(s.t, failed)
	require.Positive(s.t, fine)
	for _, dispatcher := range dispatchers {
		s.everybodyGets(dispatcher, name, "second")
	}

	var list struct{ Items []rollout }
	s.must(http.MethodGet, "/projects/"+project+"/rollouts", nil, &list)
	require.Len(s.t, list.Items, 3)
	require.Equal(s.t, third, list.Items[0].ReleaseID)
	require.Equal(s.t, "reverted", list.Items[0].Status)
	require.Contains(s.t, stderr, list.Items[0].Reason)
	stdout, _, err = s.slipway("rollout", "list", "--project", project)
	require.NoError(s.t, err)
	lines := strings.Split(stdout, "\n")
	require.Regexp(s.t, list.Items[0].ID+` +`+third+` +reverted`, lines[1])
	require.Regexp(s.t, good.ID+` +`+second+` +completed +100 %`, lines[2])
	require.Regexp(s.t, asked.ID+` +`+second+` +canceled`, lines[3])
}

// requireShares looks at what visitors of both dispatchers get while the second
// release has its first share of them.
func (s *system) requireShares(project, name string, r rollout, share int, dispatchers []string) {
	s.t.Helper()
	for _, dispatcher := range dispatchers {
		s.wait(patience, "the share at "+dispatcher, func() bool { return s.visit(dispatcher, name, "", bucket(0)...).text() == "second" })
	}
	type first struct {
		address string
		at      []answer
	}
	var visitors []first
	byCookie := map[string][]string{}
	for n := range 100 {
		v := first{address: fmt.Sprintf("127.0.7.%d", n+1)}
		for _, dispatcher := range dispatchers {
			v.at = append(v.at, s.visit(dispatcher, name, v.address))
			byCookie[dispatcher] = append(byCookie[dispatcher], s.visit(dispatcher, name, "", bucket(n)...).text())
		}
		visitors = append(visitors, v)
	}
	again := map[string]string{}
	for i, v := range visitors[:20] {
		// They move on to another dispatcher and another address.
		cookies := v.at[i%2].Cookies()
		require.Len(s.t, cookies, 1)
		again[v.address] = s.visit(dispatchers[(i+1)%2], name, "127.0.8.1", "Cookie", cookies[0].Name+"="+cookies[0].Value).text()
	}
	require.Equal(s.t, share, s.rollout(project, r.ID).Percent, "the step ended before everybody had asked")

	for dispatcher, got := range byCookie {
		for n, text := range got {
			want := "first"
			if n < share {
				want = "second"
			}
			require.Equal(s.t, want, text, "bucket %d at %s", n, dispatcher)
		}
	}
	seconds := 0
	for _, v := range visitors {
		require.Equal(s.t, v.at[0].text(), v.at[1].text(), "both dispatchers choose alike for %s", v.address)
		require.Equal(s.t, "private, max-age=60", v.at[0].Header.Get("Cache-Control"))
		if v.at[0].text() == "second" {
			seconds++
		}
		if text, came := again[v.address]; came {
			require.Equal(s.t, v.at[0].text(), text, "%s came back with its cookie", v.address)
		}
	}
	// Five standard deviations of 100 visitors at 30 %.
	require.InDelta(s.t, share, seconds, 23)
	s.t.Logf("%d of 100 addresses got the second release", seconds)
}

// cancelsRollout gives the visitors back when somebody asks for it.
func cancelsRollout(s *system, dispatchers []string) {
	const name = "halfway"
	project := s.newProject(name)
	s.succeed(s.deploy(project, worker(name, says("first"))))
	second := s.preview(project, name, says("second"))
	r := s.startRollout(project, second, []int{50, 100}, "1h")
	for _, dispatcher := range dispatchers {
		s.wait(patience, "the share at "+dispatcher, func() bool { return s.visit(dispatcher, name, "", bucket(0)...).text() == "second" })
	}
	_, stderr, err := s.slipway("rollout", "cancel", "--project", project, r.ID)
	require.NoError(s.t, err, stderr)
	require.Contains(s.t, stderr, r.ID+" is canceled at 0 %.")
	for _, dispatcher := range dispatchers {
		s.everybodyGets(dispatcher, name, "first")
	}
	stdout, stderr, err := s.slipway("rollout", "cancel", "--project", project, r.ID)
	require.Error(s.t, err)
	require.Empty(s.t, stdout)
	require.Contains(s.t, stderr, "ended")
}

// outlivesPowerCut ends everything but the second dispatcher in the middle of a
// rollout, database and all, and starts it again.
func outlivesPowerCut(s *system, second string) {
	const name = "enduring"
	project := s.newProject(name)
	s.succeed(s.deploy(project, worker(name, says("first"))))
	release := s.preview(project, name, says("second"))
	r := s.startRollout(project, release, []int{50, 100}, "10s")
	s.wait(patience, "the share at the second dispatcher", func() bool { return s.visit(second, name, "", bucket(0)...).text() == "second" })
	require.Equal(s.t, "first", s.visit(second, name, "", bucket(99)...).text())
	s.kill()
	for range 20 {
		require.Equal(s.t, "second", s.visit(second, name, "", bucket(0)...).text(), "it goes on from memory")
		require.Equal(s.t, "first", s.visit(second, name, "", bucket(99)...).text())
	}
	s.start()
	s.wait(patience, "the rollout to end", func() bool { return s.rollout(project, r.ID).Status != "running" })
	require.Equal(s.t, "completed", s.rollout(project, r.ID).Status)
	s.everybodyGets(s.DispatcherURL, name, "second")
	s.everybodyGets(second, name, "second")
}
