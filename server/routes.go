package server

import (
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/evopose/evopose/model"
)

// routes builds the router.
func (s *Server) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(s.observe)
	r.NotFound(handle(func(_ http.ResponseWriter, r *http.Request) error {
		return newProblem(http.StatusNotFound, "no_route", "there is nothing at "+short(r.URL.Path)+"; see GET /")
	}))
	r.MethodNotAllowed(handle(func(_ http.ResponseWriter, r *http.Request) error {
		return newProblem(http.StatusMethodNotAllowed, "method", r.Method+" is not allowed here; see the Allow header")
	}))
	r.Get("/", handle(s.hint))
	r.Get("/livez", handle(s.livez))
	r.Get("/readyz", handle(s.readyz))
	r.Get("/healthz", handle(s.readyz))
	r.Method(http.MethodGet, "/metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	r.Route("/v1", func(r chi.Router) {
		r.Use(authenticate(s.tokens))
		r.Post("/pose", handle(s.pose))
		r.Post("/models/{model}/pose", handle(s.pose))
		r.Get("/models", handle(s.listModels))
		r.Get("/models/{model}", handle(s.showModel))
	})
	return r
}

// hint tells a person who opened the address in a browser what to do.
func (s *Server) hint(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := fmt.Fprintf(w, `EvoPose: a picture in, keypoints out.

  curl --data-binary @photo.jpg http://%[1]s/v1/pose
  curl --data-binary @photo.jpg -H 'Accept: image/png' -o drawn.png http://%[1]s/v1/pose

GET /v1/models   the models
GET /readyz      is it ready, and on what does it run
GET /metrics     Prometheus metrics
`, r.Host)
	return err
}

// modelInfo is a model in GET /v1/models.
type modelInfo struct {
	model.Card
	Loaded   bool   `json:"loaded"`
	Default  bool   `json:"default"`
	Provider string `json:"provider,omitempty"`
	Warning  string `json:"warning,omitempty"`
}

// untrained is the warning of a model with initial weights.
const untrained = "not trained: its keypoints mean nothing"

func (s *Server) info(name string) (modelInfo, bool) {
	card, ok := s.registry.Card(name)
	if !ok {
		return modelInfo{}, false
	}
	i := modelInfo{Card: card, Default: name == s.config.Model}
	for _, m := range s.pool.Loaded() {
		if m.Card.Name == name { // the loaded card also has the file's sum
			i.Card, i.Loaded, i.Provider = m.Card, true, m.Runner.Provider()
		}
	}
	if !card.Trained {
		i.Warning = untrained
	}
	return i, true
}

func (s *Server) listModels(w http.ResponseWriter, _ *http.Request) error {
	list := struct {
		Models []modelInfo       `json:"models"`
		Broken map[string]string `json:"broken,omitempty"`
	}{Models: []modelInfo{}, Broken: map[string]string{}}
	for _, name := range s.registry.Names() {
		if i, ok := s.info(name); ok {
			list.Models = append(list.Models, i)
		}
	}
	for name, err := range s.registry.Broken() {
		list.Broken[name] = err.Error()
	}
	return writeJSON(w, list)
}

func (s *Server) showModel(w http.ResponseWriter, r *http.Request) error {
	name := s.registry.Resolve(chi.URLParam(r, "model"))
	i, ok := s.info(name)
	if !ok {
		return fmt.Errorf("%w: %q", model.ErrUnknownModel, short(name))
	}
	return writeJSON(w, i)
}
