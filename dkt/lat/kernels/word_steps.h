// One word further: what dkt/lat/word_steps.py does.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "word_closure.h"

namespace {

// Where one is and what it took to get there.
struct Place {
  int32_t junction;
  double graph, acoustic;
};

// A place after a word: from which place, over which word's arc and which leg.
struct Arrival {
  Place place;
  int32_t owner, word;
  int64_t leg;
};

// Each word that can follow a set of places, and the best ways to the places after it.
class WordSteps {
 public:
  explicit WordSteps(Closure& closure) : closure_(closure) {}

  // Calls take(label, arrivals), words in their order; gives how many ways were looked at.
  template <class Take>
  int64_t after(const Place* places, int64_t count, double limit, double beam, Take take) {
    // Made only now: none of it is needed where no word follows.
    if (label_best_.empty()) {
      label_best_.assign(closure_.labels.size() + 1, kInfinity);
      slots_.assign(closure_.beta.size(), -1);
    }
    follow_words(places, count, limit, beam);
    int64_t looked = static_cast<int64_t>(rows_.size());
    for (size_t begin = 0, end; begin < rows_.size(); begin = end) {
      for (end = begin + 1; end < rows_.size() && label_of(rows_[end]) == label_of(rows_[begin]);) ++end;
      looked += follow_legs(begin, end, limit, beam);
      if (!arrivals_.empty()) take(label_of(rows_[begin]), arrivals_);
    }
    return looked;
  }

 private:
  struct Row {
    int32_t owner, word;
    double graph, acoustic;
  };

  int32_t label_of(const Row& row) const { return closure_.words[row.word].label; }

  // To the entries behind the words: the best row for each word and entry, in their order.
  void follow_words(const Place* places, int64_t count, double limit, double beam) {
    all_.clear();
    keys_.clear();
    for (int64_t owner = 0; owner < count; ++owner) {
      const Place& place = places[owner];
      const int64_t end = closure_.word_offsets[place.junction + 1];
      for (int64_t word = closure_.word_offsets[place.junction]; word < end; ++word) {
        const Closure::Word& arc = closure_.words[word];
        const Row row = {static_cast<int32_t>(owner), static_cast<int32_t>(word), place.graph + arc.graph,
                         place.acoustic + arc.acoustic};
        all_.push_back(row);
        double& best = label_best_[arc.label];
        best = std::min(best, row.graph + row.acoustic + closure_.entry_beta[arc.entry]);
      }
    }
    for (size_t index = 0; index < all_.size(); ++index) {
      const Row& row = all_[index];
      const Closure::Word& arc = closure_.words[row.word];
      const double best = label_best_[arc.label];
      if (best <= limit && row.graph + row.acoustic + closure_.entry_beta[arc.entry] <= best + beam)
        keys_.push_back({static_cast<uint64_t>(arc.label) << 32 | static_cast<uint32_t>(arc.entry), index});
    }
    for (const Row& row : all_) label_best_[label_of(row)] = kInfinity;
    std::sort(keys_.begin(), keys_.end());
    rows_.clear();
    for (size_t index = 0; index < keys_.size(); ++index) {
      const Row& row = all_[keys_[index].second];
      if (index && keys_[index].first == keys_[index - 1].first) {
        if (row.graph + row.acoustic < rows_.back().graph + rows_.back().acoustic) rows_.back() = row;
      } else {
        rows_.push_back(row);
      }
    }
  }

  // From the entries behind one word on to junctions: the best arrival at each, in their order.
  int64_t follow_legs(size_t begin, size_t end, double limit, double beam) {
    found_.clear();
    double best = kInfinity;
    int64_t looked = 0;
    for (size_t index = begin; index < end; ++index) {
      const Row& row = rows_[index];
      const int32_t entry = closure_.words[row.word].entry;
      const int64_t last = closure_.leg_offsets[entry + 1];
      looked += last - closure_.leg_offsets[entry];
      for (int64_t leg = closure_.leg_offsets[entry]; leg < last; ++leg) {
        const Closure::Leg& way = closure_.legs[leg];
        const Arrival arrival = {
            {way.junction, row.graph + way.graph, row.acoustic + way.acoustic}, row.owner, row.word, leg};
        const double total = arrival.place.graph + arrival.place.acoustic;
        const double cost = total + closure_.beta[way.junction];
        // What is out of the beam already will be so at the end.
        if (!(cost <= best + beam)) continue;
        if (cost < best) best = cost;
        int32_t& slot = slots_[way.junction];
        if (slot < 0) {
          slot = static_cast<int32_t>(found_.size());
          found_.push_back(arrival);
        } else if (total < found_[slot].place.graph + found_[slot].place.acoustic) {
          found_[slot] = arrival;
        }
      }
    }
    arrivals_.clear();
    for (const Arrival& arrival : found_) {
      slots_[arrival.place.junction] = -1;
      const double cost = arrival.place.graph + arrival.place.acoustic + closure_.beta[arrival.place.junction];
      if (best <= limit && cost <= best + beam) arrivals_.push_back(arrival);
    }
    std::sort(arrivals_.begin(), arrivals_.end(),
              [](const Arrival& a, const Arrival& b) { return a.place.junction < b.place.junction; });
    return looked;
  }

  Closure& closure_;
  std::vector<double> label_best_;
  std::vector<int32_t> slots_;  // of the arrival found at each junction
  std::vector<Row> all_, rows_;
  std::vector<std::pair<uint64_t, uint64_t>> keys_;
  std::vector<Arrival> found_, arrivals_;
};

}  // namespace
