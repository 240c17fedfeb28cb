// Determinisation of one raw lattice: what dkt/lat/word_closure.py, word_steps.py and determinize.py do, which tell
// what the words mean (junction, entry, leg, way, place) and why; here it is done a row at a time. Costs are summed in
// the same order, so that the lattices are the same to the last bit (compile without contraction of a * b + c).
//
// The work is done in pieces, by dkt_determinize_advance, so that whoever waits can be interrupted.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <limits>
#include <queue>
#include <unordered_map>
#include <utility>
#include <vector>

#include "word_closure.h"
#include "word_steps.h"

namespace {

uint64_t mixed(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

// As NumPy rounds, and turns what is out of range into whole numbers.
int64_t rounded(double cost, double delta) {
  const double whole = std::nearbyint(cost / delta);
  return std::fabs(whole) < 9.2e18 ? static_cast<int64_t>(whole) : std::numeric_limits<int64_t>::min();
}

// Numbers of records by the hash of what they are found by.
typedef std::unordered_multimap<uint64_t, int64_t> Index;

template <class Same>
int64_t find(const Index& index, uint64_t hash, Same same) {
  const auto range = index.equal_range(hash);
  for (auto it = range.first; it != range.second; ++it)
    if (same(it->second)) return it->second;
  return -1;
}

}  // namespace

class Determinizer {
 public:
  Determinizer(const RawLattice& raw, const Settings& settings)
      : settings_(settings), beam_(settings.beam), closure_(raw, settings), leaving_(closure_), looking_(closure_) {}

  Status advance(int64_t work) {
    if (!closed_) {
      if (closure_.advance(work)) return kMore;
      closed_ = true;
      if (closure_.has_path()) begin();
      return kMore;
    }
    for (work_ = work; work_ > 0;) {
      if (queue_.empty()) return finish(settings_.beam);
      const auto [cost, number] = queue_.top();
      queue_.pop();
      if (states_[number].made) continue;
      // The best path is what there must be at least.
      if (settings_.max_mem && bytes_ > settings_.max_mem && has_best_) return finish(cost - best_);
      make(number);
    }
    return kMore;
  }

  double beam() const { return beam_; }

  void sizes(int64_t* numbers) const {
    int64_t arcs = 0, tids = 0, final_tids = 0;
    for (const int32_t number : order_)
      for (int64_t arc = states_[number].first_arc; arc < states_[number].last_arc; ++arc) {
        if (arcs_[arc].nextstate < 0) final_tids += arcs_[arc].string.size;
        if (arcs_[arc].nextstate < 0 || rank_[arcs_[arc].nextstate] < 0) continue;
        ++arcs;
        tids += arcs_[arc].string.size;
      }
    const int64_t found[] = {static_cast<int64_t>(order_.size()), arcs, tids, final_tids};
    std::copy(found, found + 4, numbers);
  }

  // Arrays of those sizes; offsets have one more.
  void copy(int64_t* offsets, int32_t* labels, float* graph, float* acoustic, int32_t* nextstates, int64_t* lengths,
            int32_t* tids, float* final_graph, float* final_acoustic, int64_t* final_lengths,
            int32_t* final_tids) const {
    int64_t count = 0;
    for (size_t state = 0; state < order_.size(); ++state) {
      offsets[state] = count;
      final_graph[state] = final_acoustic[state] = std::numeric_limits<float>::infinity();
      final_lengths[state] = 0;
      for (int64_t number = states_[order_[state]].first_arc; number < states_[order_[state]].last_arc; ++number) {
        const Arc& arc = arcs_[number];
        const auto string = tids_.begin() + arc.string.begin;
        if (arc.nextstate < 0) {
          final_graph[state] = static_cast<float>(arc.graph);
          final_acoustic[state] = static_cast<float>(arc.acoustic);
          final_lengths[state] = arc.string.size;
          final_tids = std::copy(string, string + arc.string.size, final_tids);
        } else if (rank_[arc.nextstate] >= 0) {
          labels[count] = closure_.labels[arc.label];
          graph[count] = static_cast<float>(arc.graph);
          acoustic[count] = static_cast<float>(arc.acoustic);
          nextstates[count] = rank_[arc.nextstate];
          lengths[count] = arc.string.size;
          tids = std::copy(string, string + arc.string.size, tids);
          ++count;
        }
      }
    }
    offsets[order_.size()] = count;
  }

 private:
  // A word; or, with nextstate -1, the end.
  struct Arc {
    int32_t label;
    double graph, acoustic;
    String string;
    int32_t nextstate;
  };
  struct State {
    int64_t first_place, last_place;
    double rest, forward = kInfinity;
    bool made = false;
    int64_t first_arc = 0, last_arc = 0;
  };

  void begin() {
    best_ = closure_.entry_beta[0];
    std::vector<Place> all;
    for (int64_t leg = closure_.leg_offsets[0]; leg < closure_.leg_offsets[1]; ++leg)
      all.push_back({closure_.legs[leg].junction, closure_.legs[leg].graph, closure_.legs[leg].acoustic});
    const std::vector<int32_t> kept = used(all);
    new_places_.clear();
    new_strings_.clear();
    new_tids_.clear();
    for (const int32_t row : kept) {
      new_places_.push_back(all[row]);
      append_string({}, nullptr, 0, closure_.leg_offsets[0] + row);
    }
    reach(number_of(0), 0.0);
  }

  void reach(int32_t number, double forward) {
    State& state = states_[number];
    if (state.made || !(forward < state.forward)) return;
    state.forward = forward;
    queue_.push({forward + state.rest, number});
  }

  // The arcs of the state whose best whole path is the best of those left.
  void make(int32_t number) {
    const double forward = states_[number].forward;
    const int64_t first = states_[number].first_place, count = states_[number].last_place - first;
    // A copy: new states make the pool move.
    const std::vector<Place> places(places_.begin() + first, places_.begin() + first + count);
    std::vector<Arc> made;
    const double limit = best_ + settings_.beam + settings_.tolerance - forward;
    work_ -= leaving_.after(places.data(), count, limit, settings_.beam,
                            [&](int32_t label, const std::vector<Arrival>& arrivals) {
                              made.push_back(arc_of(label, places, first, arrivals));
                              reach(made.back().nextstate, forward + made.back().graph + made.back().acoustic);
                            });
    end(places, first, forward, &made);
    State& state = states_[number];
    state.made = true;
    state.first_arc = arcs_.size();
    arcs_.insert(arcs_.end(), made.begin(), made.end());
    state.last_arc = arcs_.size();
    for (const Arc& arc : made)
      has_best_ |= arc.nextstate < 0 && forward + arc.graph + arc.acoustic <= best_ + settings_.tolerance;
  }

  // The arc of a word; where all places come from one, all but what that brings may be known.
  Arc arc_of(int32_t label, const std::vector<Place>& places, int64_t first, const std::vector<Arrival>& arrivals) {
    const int32_t owner = arrivals[0].owner;
    for (const Arrival& arrival : arrivals)
      if (arrival.owner != owner) return arrive(label, arrivals, first);
    const int64_t known = from_one(label, places[owner], arrivals);
    Arc arc = known_arcs_[known].arc;
    arc.graph = arc.graph + places[owner].graph;
    arc.acoustic = arc.acoustic + places[owner].acoustic;
    const String before = strings_[first + owner], rest = arc.string;
    arc.string = {static_cast<int64_t>(tids_.size()), before.size + rest.size};
    append(&tids_, place_tids_, before);
    append(&tids_, tids_, rest);
    return arc;
  }

  // Which of the arcs that are known by their words and legs alone; it is made if it is new.
  int64_t from_one(int32_t label, const Place& place, const std::vector<Arrival>& arrivals) {
    uint64_t hash = arrivals.size();
    for (const Arrival& arrival : arrivals)
      hash = mixed(mixed(hash, arrival.word), arrival.leg);
    int64_t known = find(known_index_, hash, [&](int64_t number) {
      const KnownArc& other = known_arcs_[number];
      return other.size == static_cast<int64_t>(arrivals.size()) &&
             std::equal(arrivals.begin(), arrivals.end(), ways_.begin() + other.first,
                        [](const Arrival& a, const std::pair<int32_t, int64_t>& b) {
                          return a.word == b.first && a.leg == b.second;
                        });
    });
    if (known >= 0) return known;
    std::vector<Arrival> alone(arrivals);
    for (Arrival& arrival : alone) {
      arrival.place.graph = arrival.place.graph - place.graph;
      arrival.place.acoustic = arrival.place.acoustic - place.acoustic;
    }
    known = known_arcs_.size();
    known_arcs_.push_back(
        {arrive(label, alone, -1), static_cast<int64_t>(ways_.size()), static_cast<int64_t>(arrivals.size())});
    for (const Arrival& arrival : arrivals) ways_.push_back({arrival.word, arrival.leg});
    known_index_.emplace(hash, known);
    return known;
  }

  // The arc to the places after a step, without what they share: costs and the beginning of strings. The strings
  // before it are those of the places from `first` on; none if that is below 0.
  Arc arrive(int32_t label, const std::vector<Arrival>& arrivals, int64_t first) {
    size_t best = 0;
    double least = kInfinity;
    for (size_t row = 0; row < arrivals.size(); ++row) {
      const Place& place = arrivals[row].place;
      const double cost = place.graph + place.acoustic + closure_.beta[place.junction];
      if (cost < least) least = cost, best = row;
    }
    const double graph = arrivals[best].place.graph, acoustic = arrivals[best].place.acoustic;
    std::vector<Place> residual;
    for (const Arrival& arrival : arrivals)
      residual.push_back(
          {arrival.place.junction, arrival.place.graph - graph, arrival.place.acoustic - acoustic});
    const std::vector<int32_t>& kept = used(residual);
    new_places_.clear();
    new_strings_.clear();
    new_tids_.clear();
    int64_t common = std::numeric_limits<int64_t>::max();
    for (const int32_t row : kept) {
      const Arrival& arrival = arrivals[row];
      new_places_.push_back(residual[row]);
      const String before = first < 0 ? String{0, 0} : strings_[first + arrival.owner];
      append_string(before, &place_tids_, closure_.words[arrival.word].tid, arrival.leg);
      common = std::min(common, shared(new_strings_.front(), new_strings_.back()));
    }
    const String string = {static_cast<int64_t>(tids_.size()), common};
    append(&tids_, new_tids_, {0, common});
    return {label, graph, acoustic, string, number_of(common)};
  }

  // The strings of the new places, before what they share is taken off.
  void append_string(const String& before, const std::vector<int32_t>* pool, int32_t tid, int64_t leg) {
    const String rest = closure_.leg_string(leg);
    const int64_t begin = new_tids_.size();
    if (pool) append(&new_tids_, *pool, before);
    if (tid) new_tids_.push_back(tid);
    append(&new_tids_, closure_.leg_tids, rest);
    new_strings_.push_back({begin, static_cast<int64_t>(new_tids_.size()) - begin});
  }

  int64_t shared(const String& one, const String& other) const {
    const int64_t size = std::min(one.size, other.size);
    const int32_t *a = new_tids_.data() + one.begin, *b = new_tids_.data() + other.begin;
    return std::mismatch(a, a + size, b).first - a;
  }

  static void append(std::vector<int32_t>* to, const std::vector<int32_t>& from, const String& string) {
    const size_t size = to->size();
    to->resize(size + string.size);
    // The two may be one.
    if (string.size) std::memcpy(to->data() + size, from.data() + string.begin, string.size * sizeof(int32_t));
  }

  // The state of the new places, without so many transition-ids at the beginning of each string; a new one if need be.
  int32_t number_of(int64_t common) {
    uint64_t hash = new_places_.size();
    for (size_t row = 0; row < new_places_.size(); ++row) {
      String& string = new_strings_[row];
      string = {string.begin + common, string.size - common};
      hash = mixed(mixed(hash, new_places_[row].junction), rounded_cost(new_places_[row]));
      hash = mixed(hash, string.size);
      for (int64_t index = 0; index < string.size; ++index) hash = mixed(hash, new_tids_[string.begin + index]);
    }
    const int64_t known = find(state_index_, hash, [&](int64_t number) { return is_state(number); });
    if (known >= 0) return static_cast<int32_t>(known);
    State state;
    state.first_place = places_.size();
    state.rest = kInfinity;
    for (size_t row = 0; row < new_places_.size(); ++row) {
      const Place& place = new_places_[row];
      state.rest = std::min(state.rest, place.graph + place.acoustic + closure_.beta[place.junction]);
      places_.push_back(place);
      const String& string = new_strings_[row];
      strings_.push_back({static_cast<int64_t>(place_tids_.size()), string.size});
      append(&place_tids_, new_tids_, string);
      bytes_ += settings_.place_bytes + settings_.tid_bytes * string.size;
    }
    state.last_place = places_.size();
    states_.push_back(state);
    state_index_.emplace(hash, states_.size() - 1);
    return static_cast<int32_t>(states_.size() - 1);
  }

  bool is_state(int64_t number) const {
    const State& state = states_[number];
    if (state.last_place - state.first_place != static_cast<int64_t>(new_places_.size())) return false;
    for (size_t row = 0; row < new_places_.size(); ++row) {
      const Place &one = places_[state.first_place + row], &other = new_places_[row];
      const String &string = strings_[state.first_place + row], &new_string = new_strings_[row];
      if (one.junction != other.junction || rounded_cost(one) != rounded_cost(other) ||
          string.size != new_string.size ||
          !std::equal(place_tids_.begin() + string.begin, place_tids_.begin() + string.begin + string.size,
                      new_tids_.begin() + new_string.begin))
        return false;
    }
    return true;
  }

  int64_t rounded_cost(const Place& place) const { return rounded(place.graph + place.acoustic, settings_.delta); }

  // The rows of those places that the best way to anywhere comes from. Most sets are met again and again.
  const std::vector<int32_t>& used(const std::vector<Place>& places) {
    uint64_t hash = places.size();
    for (const Place& place : places) hash = mixed(mixed(hash, place.junction), rounded_cost(place));
    const int64_t known = find(used_index_, hash, [&](int64_t number) {
      const Used& other = used_[number];
      return std::equal(places.begin(), places.end(), other.key.begin(), other.key.end(),
                        [&](const Place& a, const std::pair<int32_t, int64_t>& b) {
                          return a.junction == b.first && rounded_cost(a) == b.second;
                        });
    });
    if (known >= 0) return used_[known].rows;
    double limit = kInfinity, least = kInfinity;
    size_t end = 0;
    for (size_t row = 0; row < places.size(); ++row) {
      const Place& place = places[row];
      const double cost = place.graph + place.acoustic;
      limit = std::min(limit, cost + closure_.beta[place.junction]);
      if (cost + closure_.final[place.junction] < least) least = cost + closure_.final[place.junction], end = row;
    }
    std::vector<char> is_used(places.size(), 0);
    work_ -= looking_.after(places.data(), places.size(), limit + settings_.beam + settings_.tolerance,
                            settings_.beam, [&](int32_t, const std::vector<Arrival>& arrivals) {
                              for (const Arrival& arrival : arrivals) is_used[arrival.owner] = 1;
                            });
    if (std::isfinite(least)) is_used[end] = 1;
    // Costs so large that their sums are rounded by more than the tolerance.
    if (std::count(is_used.begin(), is_used.end(), 1) == 0) is_used.assign(places.size(), 1);
    used_.emplace_back();
    for (size_t row = 0; row < places.size(); ++row) {
      used_.back().key.push_back({places[row].junction, rounded_cost(places[row])});
      if (is_used[row]) used_.back().rows.push_back(static_cast<int32_t>(row));
    }
    used_index_.emplace(hash, used_.size() - 1);
    return used_.back().rows;
  }

  void end(const std::vector<Place>& places, int64_t first, double forward, std::vector<Arc>* made) {
    size_t best = 0;
    double least = kInfinity;
    for (size_t row = 0; row < places.size(); ++row) {
      const double cost = places[row].graph + closure_.final[places[row].junction] + places[row].acoustic;
      if (cost < least) least = cost, best = row;
    }
    const double graph = places[best].graph + closure_.final[places[best].junction];
    if (!(forward + graph + places[best].acoustic <= best_ + settings_.beam + settings_.tolerance)) return;
    const String string = strings_[first + best];
    made->push_back({0, graph, places[best].acoustic, {static_cast<int64_t>(tids_.size()), string.size}, -1});
    append(&tids_, place_tids_, string);
  }

  // States that lead to the end, each after those that lead to it: depth first, children before parents, turned round.
  Status finish(double beam) {
    beam_ = beam;
    enum { kUnseen, kUseless, kUseful };
    std::vector<char> seen(states_.size(), kUnseen);
    std::vector<std::pair<int32_t, int64_t>> stack;
    if (!states_.empty()) stack.push_back({0, states_[0].first_arc});
    while (!stack.empty()) {
      const State& state = states_[stack.back().first];
      int64_t& arc = stack.back().second;
      while (arc < state.last_arc && (arcs_[arc].nextstate < 0 || seen[arcs_[arc].nextstate] != kUnseen)) ++arc;
      if (arc < state.last_arc) {
        const int32_t child = arcs_[arc].nextstate;
        stack.push_back({child, states_[child].first_arc});
        continue;
      }
      char found = kUseless;
      for (int64_t leaving = state.first_arc; leaving < state.last_arc; ++leaving)
        if (arcs_[leaving].nextstate < 0 || seen[arcs_[leaving].nextstate] == kUseful) found = kUseful;
      seen[stack.back().first] = found;
      if (found == kUseful) order_.push_back(stack.back().first);
      stack.pop_back();
    }
    std::reverse(order_.begin(), order_.end());
    rank_.assign(states_.size(), -1);
    for (size_t rank = 0; rank < order_.size(); ++rank) rank_[order_[rank]] = static_cast<int32_t>(rank);
    return kDone;
  }

  struct KnownArc {
    Arc arc;
    int64_t first, size;  // of its words and legs
  };
  struct Used {
    std::vector<std::pair<int32_t, int64_t>> key;  // junctions and rounded costs
    std::vector<int32_t> rows;
  };
  typedef std::pair<double, int32_t> Queued;

  const Settings settings_;
  double beam_, best_ = 0.0;
  Closure closure_;
  WordSteps leaving_, looking_;  // one asks while the other tells
  bool closed_ = false, has_best_ = false;
  int64_t work_ = 0, bytes_ = 0;
  std::vector<State> states_;
  std::vector<Place> places_;
  std::vector<String> strings_;  // of places, in place_tids_
  std::vector<int32_t> place_tids_;
  std::vector<Arc> arcs_;  // strings in tids_
  std::vector<int32_t> tids_;
  std::priority_queue<Queued, std::vector<Queued>, std::greater<Queued>> queue_;
  Index state_index_, used_index_, known_index_;
  std::vector<Used> used_;
  std::vector<KnownArc> known_arcs_;
  std::vector<std::pair<int32_t, int64_t>> ways_;
  std::vector<Place> new_places_;
  std::vector<String> new_strings_;  // in new_tids_
  std::vector<int32_t> new_tids_;
  std::vector<int32_t> order_, rank_;
};

extern "C" {

// Null if there is no memory.
Determinizer* dkt_determinize_new(const RawLattice* raw, const Settings* settings) {
  try {
    return new Determinizer(*raw, *settings);
  } catch (const std::exception&) {
    return nullptr;
  }
}

int dkt_determinize_advance(Determinizer* determinizer, int64_t work) {
  try {
    return determinizer->advance(work);
  } catch (const std::exception&) {
    return kNoMemory;
  } catch (Status status) {
    return status;
  }
}

double dkt_determinize_beam(const Determinizer* determinizer) { return determinizer->beam(); }

void dkt_determinize_sizes(const Determinizer* determinizer, int64_t* numbers) { determinizer->sizes(numbers); }

void dkt_determinize_copy(const Determinizer* determinizer, int64_t* offsets, int32_t* labels, float* graph,
                          float* acoustic, int32_t* nextstates, int64_t* lengths, int32_t* tids, float* final_graph,
                          float* final_acoustic, int64_t* final_lengths, int32_t* final_tids) {
  determinizer->copy(offsets, labels, graph, acoustic, nextstates, lengths, tids, final_graph, final_acoustic,
                     final_lengths, final_tids);
}

void dkt_determinize_free(Determinizer* determinizer) { delete determinizer; }
}
