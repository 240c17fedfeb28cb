// The search of one utterance for its raw lattice: what dkt/decoder/token_passing.py and token_lattice.py do, which
// tell what the words mean and why; here it is done a token and an arc at a time. Tokens are numbered in the same
// order and costs are summed in the same order, so that the lattices are the same to the last bit (compile without
// contraction of a * b + c).
//
// The work is done in pieces, by dkt_search_advance, so that whoever waits can be interrupted.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <limits>
#include <utility>
#include <vector>

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

enum Status {
  kDone = 0,
  kMore = 1,
  kNoMemory = -1,
  kNoPathLeft = -2,
  kTooManyLinks = -3,
  kNegativeLoop = -4,
  kNoFinal = -5,
  kLoop = -6,
  kLost = -7,
};

}  // namespace

// Arcs with a frame, or those without, in the order of the states that they leave.
struct Arcs {
  const int64_t* offsets;
  const double* weights;
  const int32_t *nextstates, *ilabels, *olabels;
};

struct Graph {
  int64_t start, num_states;
  const double* final;
  const int32_t* pdfs;  // of the arcs with a frame
  Arcs emitting, nonemitting;
};

// Scores of one of the two types, row by row.
struct Loglikes {
  int64_t num_frames, num_pdfs;
  const float* singles;
  const double* doubles;
  double scale;
};

struct Settings {
  double beam, lattice_beam, beam_delta;
  int64_t max_active, min_active, prune_interval, max_links, allow_partial;
};

namespace {

struct Link {
  int32_t source, target, arc;
};

// The tokens between two frames of speech and the arcs that leave them.
struct Frame {
  std::vector<int32_t> states;
  std::vector<double> costs, extra;
  std::vector<Link> inner, outer;
  int64_t num_links() const { return static_cast<int64_t>(inner.size() + outer.size()); }
};

// What was pruned gives its memory back.
template <class T>
void shrink(std::vector<T>* values) {
  if (values->size() < values->capacity() / 2) values->shrink_to_fit();
}

}  // namespace

class Search {
 public:
  Search(const Graph& graph, const Loglikes& loglikes, const Settings& settings)
      : graph_(graph), loglikes_(loglikes), settings_(settings), slots_(graph.num_states, -1) {
    states_.assign(1, static_cast<int32_t>(graph.start));
    costs_.assign(1, 0.0);
  }

  // Takes so many frames; kDone when the lattice is there.
  Status advance(int64_t count) {
    if (frames_.empty()) close(settings_.beam);
    for (; count > 0; --count) {
      if (num_taken() == loglikes_.num_frames) return finish();
      take();
    }
    return kMore;
  }

  int64_t num_taken() const { return static_cast<int64_t>(frames_.size()) - 1; }

  void sizes(int64_t* numbers) const {
    const int64_t found[] = {layers_.back(), static_cast<int64_t>(order_.size()),
                             static_cast<int64_t>(layers_.size()), start_, reached_final_};
    std::copy(found, found + 5, numbers);
  }

  void copy(int64_t* layers, double* alpha, double* final, int32_t* sources, int32_t* targets, int32_t* ilabels,
            int32_t* olabels, double* graph, double* acoustic) const {
    std::copy(layers_.begin(), layers_.end(), layers);
    std::fill(final, final + layers_.back(), kInfinity);
    for (size_t index = 0; index < frames_.size(); ++index)
      for (size_t token = 0; token < frames_[index].states.size(); ++token)
        alpha[numbers_[index][token]] = frames_[index].costs[token];
    const Frame& last = frames_.back();
    for (size_t token = 0; token < last.states.size(); ++token)
      final[numbers_.back()[token]] = final_cost(last.states[token]);
    for (size_t place = 0; place < order_.size(); ++place) {
      const RawArc& arc = arcs_[order_[place]];
      const Arcs& set = arc.frame < 0 ? graph_.nonemitting : graph_.emitting;
      sources[place] = arc.source;
      targets[place] = arc.target;
      ilabels[place] = arc.frame < 0 ? 0 : set.ilabels[arc.arc];
      olabels[place] = set.olabels[arc.arc];
      graph[place] = set.weights[arc.arc];
      acoustic[place] = arc.frame < 0 ? 0.0 : acoustic_cost(arc.frame, graph_.pdfs[arc.arc]);
    }
  }

 private:
  struct RawArc {
    int32_t source, target, arc, frame;  // frame -1: none
  };
  struct Taken {
    int32_t source, arc;
    double cost;
  };

  double acoustic_cost(int64_t frame, int32_t pdf) const {
    const int64_t place = frame * loglikes_.num_pdfs + pdf;
    const double loglike = loglikes_.singles ? static_cast<double>(loglikes_.singles[place]) : loglikes_.doubles[place];
    return -loglikes_.scale * loglike;
  }

  double final_cost(int32_t state) const { return reached_final_ ? graph_.final[state] : 0.0; }

  static bool any(const Arcs& arcs, int32_t state) { return arcs.offsets[state] < arcs.offsets[state + 1]; }

  // One frame of speech.
  void take() {
    const int64_t taken = num_taken();
    const double cutoff = leave(&frames_.back(), taken);
    close(cutoff);
    if (frames_.back().states.empty()) throw kNoPathLeft;
    num_links_ += frames_[taken].num_links();
    if ((taken + 1) % settings_.prune_interval == 0 || num_links_ > settings_.max_links) {
      // Each frame is seen twice, with more and more of the future known; what is older has little to lose.
      const int64_t size = frames_.size();
      frames_.back().extra.assign(frames_.back().states.size(), 0.0);
      prune(std::max<int64_t>(0, size - 2 * settings_.prune_interval - 1));
      num_links_ = 0;
      for (const Frame& frame : frames_) num_links_ += frame.num_links();
    }
    if (num_links_ > settings_.max_links) throw kTooManyLinks;
  }

  // Which tokens go on, as LatticeFasterDecoderTpl::GetCutoff: the cost up to which they do, and the next beam.
  std::pair<double, double> cutoff_of(const std::vector<double>& costs) {
    const double best = *std::min_element(costs.begin(), costs.end());
    const double within = best + settings_.beam;
    const int64_t count = costs.size();
    if (count > settings_.max_active) {
      const double most = ranked(costs, settings_.max_active);
      if (most < within) return {most, most - best + settings_.beam_delta};
    }
    if (count > settings_.min_active) {
      const double least = settings_.min_active == 0 ? best : ranked(costs, settings_.min_active);
      if (least > within) return {least, least - best + settings_.beam_delta};
      return {within, settings_.beam};
    }
    return {kInfinity, kInfinity};
  }

  double ranked(const std::vector<double>& costs, int64_t rank) {
    scratch_.assign(costs.begin(), costs.end());
    std::nth_element(scratch_.begin(), scratch_.begin() + rank, scratch_.end());
    return scratch_[rank];
  }

  // Over the arcs that take a frame to the states and costs of the next; gives the cost under which they are kept.
  double leave(Frame* frame, int64_t taken) {
    acoustic_.resize(loglikes_.num_pdfs);
    for (int64_t pdf = 0; pdf < loglikes_.num_pdfs; ++pdf) acoustic_[pdf] = acoustic_cost(taken, pdf);
    const Arcs& arcs = graph_.emitting;
    const auto [highest, beam] = cutoff_of(frame->costs);
    taken_.clear();
    double best = kInfinity;
    for (size_t token = 0; token < frame->states.size(); ++token) {
      const double before = frame->costs[token];
      if (!(before <= highest)) continue;
      const int32_t state = frame->states[token];
      for (int64_t arc = arcs.offsets[state]; arc < arcs.offsets[state + 1]; ++arc) {
        const double cost = before + arcs.weights[arc] + acoustic_[graph_.pdfs[arc]];
        // What is beyond the beam of the best so far is beyond that of the best.
        if (!(cost < best + beam)) continue;
        best = std::min(best, cost);
        taken_.push_back({static_cast<int32_t>(token), static_cast<int32_t>(arc), cost});
      }
    }
    const double cutoff = best + beam;
    const auto beyond = [cutoff](const Taken& one) { return !(one.cost < cutoff); };
    taken_.erase(std::remove_if(taken_.begin(), taken_.end(), beyond), taken_.end());
    states_.clear();
    number_states(arcs);
    costs_.assign(states_.size(), kInfinity);
    frame->outer.clear();
    frame->outer.reserve(taken_.size());
    for (const Taken& one : taken_) {
      const int32_t target = slots_[arcs.nextstates[one.arc]];
      costs_[target] = std::min(costs_[target], one.cost);
      frame->outer.push_back({one.source, target, one.arc});
    }
    for (const int32_t state : states_) slots_[state] = -1;
    return cutoff;
  }

  // Numbers the states that the taken arcs lead to, each in the place of the last arc to it, after those that have one.
  void number_states(const Arcs& arcs) {
    const size_t first = states_.size();
    for (auto one = taken_.rbegin(); one != taken_.rend(); ++one) {
      const int32_t state = arcs.nextstates[one->arc];
      if (slots_[state] >= 0) continue;
      slots_[state] = 0;
      states_.push_back(state);
    }
    std::reverse(states_.begin() + first, states_.end());
    for (size_t token = first; token < states_.size(); ++token) slots_[states_[token]] = static_cast<int32_t>(token);
  }

  // Follows the arcs without a frame, as long as they bring a token or lower a cost, and makes a Frame.
  void close(double cutoff) {
    const Arcs& arcs = graph_.nonemitting;
    changed_.clear();
    for (size_t token = 0; token < states_.size(); ++token) {
      slots_[states_[token]] = static_cast<int32_t>(token);
      if (any(arcs, states_[token])) changed_.push_back(static_cast<int32_t>(token));
    }
    for (int64_t pass = 0;; ++pass) {
      if (pass > graph_.num_states) throw kNegativeLoop;
      follow(cutoff);
      if (taken_.empty()) break;
      number_states(arcs);
      costs_.resize(states_.size(), kInfinity);
      lower();
    }
    frames_.emplace_back();
    Frame& frame = frames_.back();
    changed_.clear();
    for (size_t token = 0; token < states_.size(); ++token)
      if (any(arcs, states_[token])) changed_.push_back(static_cast<int32_t>(token));
    follow(cutoff);
    frame.inner.reserve(taken_.size());
    for (const Taken& one : taken_) frame.inner.push_back({one.source, slots_[arcs.nextstates[one.arc]], one.arc});
    for (const int32_t state : states_) slots_[state] = -1;
    frame.states = states_;
    frame.costs = costs_;
  }

  // The arcs without a frame of the changed tokens, under the cutoff.
  void follow(double cutoff) {
    const Arcs& arcs = graph_.nonemitting;
    taken_.clear();
    for (const int32_t token : changed_)
      for (int64_t arc = arcs.offsets[states_[token]]; arc < arcs.offsets[states_[token] + 1]; ++arc) {
        const double reached = costs_[token] + arcs.weights[arc];
        if (reached < cutoff) taken_.push_back({token, static_cast<int32_t>(arc), reached});
      }
  }

  // Lowers the costs of tokens that the taken arcs lead to: those go on next, in their order.
  void lower() {
    const Arcs& arcs = graph_.nonemitting;
    changed_.clear();
    for (const Taken& one : taken_) {
      const int32_t target = slots_[arcs.nextstates[one.arc]];
      if (!(one.cost < costs_[target])) continue;
      costs_[target] = one.cost;
      if (any(arcs, states_[target])) changed_.push_back(target);
    }
    std::sort(changed_.begin(), changed_.end());
    changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
  }

  // Prunes the arcs of the frames from `first` on; the last one's tokens have their extra costs. Above 0 the tokens
  // of the first of them stay, as arcs of earlier frames lead to them.
  void prune(int64_t first) {
    const int64_t last = static_cast<int64_t>(frames_.size()) - 1;
    prune_inner(&frames_[last]);
    compact(&frames_[last]);
    for (int64_t index = last - 1; index >= first; --index) {
      Frame& frame = frames_[index];
      prune_outer(&frame, frames_[index + 1], index);
      prune_inner(&frame);
      if (index > first || first == 0) compact(&frame);
    }
  }

  // How much worse than the best the best path over an arc is, but for its acoustic cost.
  static double slack_of(const Frame& frame, const Frame& after, const Link& link, const Arcs& arcs) {
    return after.extra[link.target] +
           (frame.costs[link.source] + arcs.weights[link.arc] - after.costs[link.target]);
  }

  // Of the arcs to the next Frame, whose tokens have just been numbered anew.
  void prune_outer(Frame* frame, const Frame& after, int64_t index) {
    frame->extra.assign(frame->states.size(), kInfinity);
    size_t kept = 0;
    for (Link link : frame->outer) {
      link.target = renumbered_[link.target];
      if (link.target < 0) continue;
      const double slack =
          slack_of(*frame, after, link, graph_.emitting) + acoustic_cost(index, graph_.pdfs[link.arc]);
      if (!(slack <= settings_.lattice_beam)) continue;
      double& extra = frame->extra[link.source];
      // Rounding may take what is the best path itself a little below zero.
      extra = std::min(extra, std::max(slack, 0.0));
      frame->outer[kept++] = link;
    }
    frame->outer.resize(kept);
    shrink(&frame->outer);
  }

  // Extra costs that know of the arcs without a frame; none of these is pruned before all extra costs are known.
  void prune_inner(Frame* frame) {
    const auto beyond = [&](const Link& link) {
      return !(slack_of(*frame, *frame, link, graph_.nonemitting) <= settings_.lattice_beam);
    };
    for (bool changed = !frame->inner.empty(); changed;) {
      changed = false;
      for (const Link& link : frame->inner) {
        const double slack = slack_of(*frame, *frame, link, graph_.nonemitting);
        double& extra = frame->extra[link.source];
        if (!(slack <= settings_.lattice_beam) || !(std::max(slack, 0.0) < extra)) continue;
        extra = std::max(slack, 0.0);
        changed = true;
      }
    }
    frame->inner.erase(std::remove_if(frame->inner.begin(), frame->inner.end(), beyond), frame->inner.end());
    shrink(&frame->inner);
  }

  // Drops the tokens that no path within the beam goes through; sets their new numbers, -1 for none.
  void compact(Frame* frame) {
    renumbered_.resize(frame->states.size());
    int32_t kept = 0;
    for (size_t token = 0; token < frame->states.size(); ++token) {
      renumbered_[token] = frame->extra[token] < kInfinity ? kept : -1;
      if (renumbered_[token] < 0) continue;
      frame->states[kept] = frame->states[token];
      frame->costs[kept] = frame->costs[token];
      frame->extra[kept++] = frame->extra[token];
    }
    frame->states.resize(kept);
    frame->costs.resize(kept);
    frame->extra.resize(kept);
    shrink(&frame->states);
    shrink(&frame->costs);
    shrink(&frame->extra);
    for (Link& link : frame->inner) {
      link.source = renumbered_[link.source];
      link.target = renumbered_[link.target];
    }
    for (Link& link : frame->outer) link.source = renumbered_[link.source];
  }

  // The last prunings, and the lattice.
  Status finish() {
    Frame& last = frames_.back();
    for (const int32_t state : last.states) reached_final_ |= std::isfinite(graph_.final[state]);
    if (!reached_final_ && !settings_.allow_partial) return kNoFinal;
    double best = kInfinity;
    for (size_t token = 0; token < last.states.size(); ++token)
      best = std::min(best, last.costs[token] + final_cost(last.states[token]));
    last.extra.resize(last.states.size());
    for (size_t token = 0; token < last.states.size(); ++token) {
      const double worse = last.costs[token] + final_cost(last.states[token]) - best;
      last.extra[token] = worse <= settings_.lattice_beam ? worse : kInfinity;
    }
    prune(0);
    for (const Frame& frame : frames_)
      if (frame.states.empty()) return kLost;
    return collect();
  }

  Status collect() {
    layers_.assign(1, 0);
    for (const Frame& frame : frames_)
      if (!number_tokens(frame)) return kLoop;
    for (size_t index = 0; index < frames_.size(); ++index) {
      for (const Link& link : frames_[index].inner)
        arcs_.push_back({numbers_[index][link.source], numbers_[index][link.target], link.arc, -1});
      for (const Link& link : frames_[index].outer)
        arcs_.push_back({numbers_[index][link.source], numbers_[index + 1][link.target], link.arc,
                         static_cast<int32_t>(index)});
    }
    order_.resize(arcs_.size());
    for (size_t arc = 0; arc < arcs_.size(); ++arc) order_[arc] = static_cast<int32_t>(arc);
    sort_by([](const RawArc& arc) { return arc.source; });
    sort_by([](const RawArc& arc) { return arc.target; });
    const Frame& first = frames_.front();
    start_ = numbers_[0][std::find(first.states.begin(), first.states.end(), graph_.start) - first.states.begin()];
    return kDone;
  }

  // By the length of the longest chain of arcs without a frame that leads to each token; false if there is a loop.
  bool number_tokens(const Frame& frame) {
    const int64_t count = frame.states.size();
    std::vector<int32_t> levels(count, 0);
    bool changed = true;
    for (int64_t pass = 0; changed; ++pass) {
      if (pass > count) return false;
      changed = false;
      for (const Link& link : frame.inner)
        if (levels[link.source] + 1 > levels[link.target]) {
          levels[link.target] = levels[link.source] + 1;
          changed = true;
        }
    }
    // Stable, level by level.
    const int32_t highest = *std::max_element(levels.begin(), levels.end());
    std::vector<int64_t> next(highest + 2, 0);
    for (const int32_t level : levels) ++next[level + 1];
    next[0] = layers_.back();
    for (int32_t level = 0; level <= highest; ++level) {
      next[level + 1] += next[level];
      layers_.push_back(next[level + 1]);
    }
    numbers_.emplace_back(count);
    for (int64_t token = 0; token < count; ++token)
      numbers_.back()[token] = static_cast<int32_t>(next[levels[token]]++);
    return true;
  }

  template <class State>
  void sort_by(State state_of) {
    std::vector<int64_t> next(layers_.back() + 1, 0);
    for (const RawArc& arc : arcs_) ++next[state_of(arc) + 1];
    for (int64_t state = 0; state < layers_.back(); ++state) next[state + 1] += next[state];
    std::vector<int32_t> sorted(order_.size());
    for (const int32_t arc : order_) sorted[next[state_of(arcs_[arc])]++] = arc;
    order_.swap(sorted);
  }

  const Graph graph_;
  const Loglikes loglikes_;
  const Settings settings_;
  std::vector<int32_t> slots_;  // the token of each state, -1 for none: always reset after use
  std::vector<Frame> frames_;
  int64_t num_links_ = 0;
  // The tokens at work.
  std::vector<int32_t> states_, changed_;
  std::vector<double> costs_, acoustic_, scratch_;
  std::vector<Taken> taken_;
  std::vector<int32_t> renumbered_;
  // The lattice.
  bool reached_final_ = false;
  int64_t start_ = 0;
  std::vector<int64_t> layers_;
  std::vector<std::vector<int32_t>> numbers_;  // of tokens, frame by frame
  std::vector<RawArc> arcs_;
  std::vector<int32_t> order_;
};

extern "C" {

// Null if there is no memory.
Search* dkt_search_new(const Graph* graph, const Loglikes* loglikes, const Settings* settings) {
  try {
    return new Search(*graph, *loglikes, *settings);
  } catch (const std::exception&) {
    return nullptr;
  }
}

int dkt_search_advance(Search* search, int64_t num_frames) {
  try {
    return search->advance(num_frames);
  } catch (const std::exception&) {
    return kNoMemory;
  } catch (Status status) {
    return status;
  }
}

int64_t dkt_search_num_taken(const Search* search) { return search->num_taken(); }

void dkt_search_sizes(const Search* search, int64_t* numbers) { search->sizes(numbers); }

void dkt_search_copy(const Search* search, int64_t* layers, double* alpha, double* final, int32_t* sources,
                     int32_t* targets, int32_t* ilabels, int32_t* olabels, double* graph, double* acoustic) {
  search->copy(layers, alpha, final, sources, targets, ilabels, olabels, graph, acoustic);
}

void dkt_search_free(Search* search) { delete search; }
}
