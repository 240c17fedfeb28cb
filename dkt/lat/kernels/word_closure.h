// The best ways between words of a raw lattice: what dkt/lat/word_closure.py does, which tells what the words mean
// (junction, entry, leg, way); here it is done a way at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <vector>

// Arcs in the order of their targets, which are states of higher numbers.
struct RawLattice {
  int64_t start, num_states, num_arcs;
  const int32_t *sources, *targets, *ilabels, *olabels;
  const double *graph, *acoustic, *alpha, *final;
};

struct Settings {
  double beam, tolerance, delta;
  int64_t max_mem, max_ways, place_bytes, tid_bytes;
};

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

enum Status { kDone = 0, kMore = 1, kNoMemory = -1, kTooManyWays = -2 };

// Plain numbers that become more: the system moves large ones without copying them.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }
  T& operator[](int64_t index) { return data_[index]; }
  int64_t size() const { return size_; }
  void push(const T& value) {
    if (size_ == capacity_) grow();
    data_[size_++] = value;
  }
  void clear() {
    std::free(data_);
    data_ = nullptr;
    size_ = capacity_ = 0;
  }

 private:
  void grow() {
    const int64_t more = capacity_ ? 2 * capacity_ : 4096;
    void* moved = std::realloc(static_cast<void*>(data_), more * sizeof(T));
    if (!moved) throw std::bad_alloc();
    data_ = static_cast<T*>(moved);
    capacity_ = more;
  }
  T* data_ = nullptr;
  int64_t size_ = 0, capacity_ = 0;
};

// A slice of a pool of transition-ids.
struct String {
  int64_t begin, size;
};

// The best ways between words.
class Closure {
 public:
  Closure(const RawLattice& raw, const Settings& settings) : raw_(raw), settings_(settings) {
    find_beta();
    find_entries();
    find_junctions();
    first_.reserve(raw.num_states + 1);
    first_.push_back(0);
  }

  // Lengthens ways until there are about so many more; false when all are there.
  bool advance(int64_t work) {
    const int64_t enough = ways_.size() + work;
    for (; state_ < raw_.num_states && ways_.size() < enough; ++state_) reach(state_);
    if (state_ < raw_.num_states) return true;
    assemble();
    return false;
  }

  bool has_path() const { return std::isfinite(entry_beta[0]) && leg_offsets[1] > 0; }

  String leg_string(int64_t leg) {
    String& string = leg_strings_[leg];
    if (string.begin >= 0) return string;
    string.begin = leg_tids.size();
    for (int64_t way = leg_ways_[leg]; way >= 0; way = history_[way].before)
      if (history_[way].tid) leg_tids.push_back(history_[way].tid);
    string.size = leg_tids.size() - string.begin;
    std::reverse(leg_tids.begin() + string.begin, leg_tids.end());
    return string;
  }

  struct Word {
    int32_t label, tid, entry;
    double graph, acoustic;
  };
  struct Leg {
    int32_t junction;
    double graph, acoustic;
  };

  std::vector<double> beta, final;  // of junctions
  std::vector<int64_t> word_offsets;
  std::vector<Word> words;  // label: a number among those that occur, in their order
  std::vector<int32_t> labels;
  std::vector<double> entry_beta;
  std::vector<int64_t> leg_offsets;
  std::vector<Leg> legs;
  std::vector<int32_t> leg_tids;

 private:
  // The best way from an entry to a state; before: what it lengthens, by an arc of that transition-id.
  struct Way {
    double graph, acoustic;
    int32_t entry;
  };
  struct History {
    int32_t before, tid;
  };
  struct Candidate {
    Way way;
    History history;
  };

  void find_beta() {
    beta_.assign(raw_.final, raw_.final + raw_.num_states);
    for (int64_t arc = raw_.num_arcs - 1; arc >= 0; --arc) {
      const double through = raw_.graph[arc] + raw_.acoustic[arc] + beta_[raw_.targets[arc]];
      double& beta = beta_[raw_.sources[arc]];
      if (through < beta) beta = through;
    }
  }

  void find_entries() {
    entry_of_.assign(raw_.num_states, -1);
    for (int64_t arc = 0; arc < raw_.num_arcs; ++arc)
      if (raw_.olabels[arc]) entry_of_[raw_.targets[arc]] = 0;
    entry_of_[raw_.start] = -1;
    std::vector<int64_t> states{raw_.start};
    for (int64_t state = 0; state < raw_.num_states; ++state)
      if (entry_of_[state] == 0) states.push_back(state);
    const double limit = beta_[raw_.start] + settings_.beam + settings_.tolerance;
    for (size_t entry = 0; entry < states.size(); ++entry) {
      entry_of_[states[entry]] = static_cast<int32_t>(entry);
      entry_beta.push_back(beta_[states[entry]]);
      slack_.push_back(limit - raw_.alpha[states[entry]]);
    }
  }

  void find_junctions() {
    junction_of_.assign(raw_.num_states, -1);
    std::vector<int64_t> leaving(raw_.num_states, 0);
    for (int64_t arc = 0; arc < raw_.num_arcs; ++arc)
      if (raw_.olabels[arc]) {
        ++leaving[raw_.sources[arc]];
        labels.push_back(raw_.olabels[arc]);
      }
    std::sort(labels.begin(), labels.end());
    labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
    word_offsets.push_back(0);
    for (int64_t state = 0; state < raw_.num_states; ++state)
      if (leaving[state] || std::isfinite(raw_.final[state])) {
        junction_of_[state] = static_cast<int32_t>(beta.size());
        beta.push_back(beta_[state]);
        final.push_back(raw_.final[state]);
        word_offsets.push_back(word_offsets.back() + leaving[state]);
      }
    std::vector<int64_t> next(word_offsets);
    words.resize(word_offsets.back());
    for (int64_t arc = 0; arc < raw_.num_arcs; ++arc)
      if (raw_.olabels[arc]) {
        const auto label = std::lower_bound(labels.begin(), labels.end(), raw_.olabels[arc]) - labels.begin();
        const int64_t place = next[junction_of_[raw_.sources[arc]]]++;
        words[place] = {static_cast<int32_t>(label), raw_.ilabels[arc], entry_of_[raw_.targets[arc]], raw_.graph[arc],
                        raw_.acoustic[arc]};
      }
  }

  // All ways to a state, in the order of entries, from those to the states before it.
  void reach(int64_t state) {
    found_.clear();
    for (; arc_ < raw_.num_arcs && raw_.targets[arc_] == state; ++arc_)
      if (!raw_.olabels[arc_]) lengthen(state, arc_);
    const int32_t entry = entry_of_[state];
    if (entry >= 0 && 0.0 + beta_[state] <= slack_[entry]) {
      const auto after = [](int32_t value, const Candidate& other) { return value < other.way.entry; };
      const Candidate here = {{0.0, 0.0, entry}, {-1, 0}};
      found_.insert(std::upper_bound(found_.begin(), found_.end(), entry, after), here);
    }
    if (ways_.size() + static_cast<int64_t>(found_.size()) > settings_.max_ways) throw kTooManyWays;
    for (const Candidate& candidate : found_) {
      ways_.push(candidate.way);
      history_.push(candidate.history);
    }
    first_.push_back(ways_.size());
  }

  // The ways to the source of an arc go on over it, where they are better than what was found before.
  void lengthen(int64_t state, int64_t arc) {
    merged_.clear();
    const double beta = beta_[state];
    auto other = found_.begin();
    for (int64_t row = first_[raw_.sources[arc]]; row < first_[raw_.sources[arc] + 1]; ++row) {
      const Way& before = ways_[row];
      const Way way = {before.graph + raw_.graph[arc], before.acoustic + raw_.acoustic[arc], before.entry};
      const double cost = way.graph + way.acoustic;
      if (!(cost + beta <= slack_[way.entry])) continue;
      while (other != found_.end() && other->way.entry < way.entry) merged_.push_back(*other++);
      if (other != found_.end() && other->way.entry == way.entry) {
        if (!(cost < other->way.graph + other->way.acoustic)) continue;
        ++other;
      }
      merged_.push_back({way, {static_cast<int32_t>(row), raw_.ilabels[arc]}});
    }
    merged_.insert(merged_.end(), other, found_.end());
    found_.swap(merged_);
  }

  // Ways to junctions, in the order of entries.
  void assemble() {
    leg_offsets.assign(entry_beta.size() + 1, 0);
    each_leg([&](int64_t way, int32_t) { ++leg_offsets[ways_[way].entry + 1]; });
    for (size_t entry = 0; entry < entry_beta.size(); ++entry) leg_offsets[entry + 1] += leg_offsets[entry];
    std::vector<int64_t> next(leg_offsets);
    legs.resize(leg_offsets.back());
    leg_ways_.resize(legs.size());
    each_leg([&](int64_t way, int32_t junction) {
      const int64_t leg = next[ways_[way].entry]++;
      legs[leg] = {junction, ways_[way].graph, ways_[way].acoustic};
      leg_ways_[leg] = static_cast<int32_t>(way);
    });
    ways_.clear();
    leg_strings_.assign(legs.size(), {-1, 0});
  }

  template <class Take>
  void each_leg(Take take) {
    for (int64_t state = 0; state < raw_.num_states; ++state)
      if (junction_of_[state] >= 0)
        for (int64_t way = first_[state]; way < first_[state + 1]; ++way) take(way, junction_of_[state]);
  }

  const RawLattice raw_;
  const Settings settings_;
  std::vector<double> beta_, slack_;  // of states, of entries
  std::vector<int32_t> entry_of_, junction_of_;
  std::vector<int64_t> first_;  // of the ways to each state
  Buffer<Way> ways_;
  Buffer<History> history_;
  std::vector<Candidate> found_, merged_;
  int64_t state_ = 0, arc_ = 0;
  std::vector<int32_t> leg_ways_;
  std::vector<String> leg_strings_;
};

}  // namespace
