// The recurrence of one LSTM layer over a chunk of frames, forwards and backwards.
//
// What is not recurrent (input products, weight gradients) is done by matrix products of all frames elsewhere. Here a
// step is one matrix product with packed weights, in registers, and one pass over the gates. Vectors are those of GCC
// and clang, as wide as the processor's. The equations are those of dkt/nnet/lstm_layer.py.
//
// Arrays are row-major and contiguous: gifo and d_gifo (T, N, 4C); c (T + 1, N, C), row t the cell before frame t;
// h (T, N, C), tanh of the cell; m (T, N, C), before the projection; r (T + 1, N, R), row t the output before frame t.
// Gates are in the order g, i, f, o; peep (3, C) belongs to i, f and o and may be null, as may w_r_m (R, C), without
// which R = C and m is r + N * R.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__)
constexpr int kBytes = 64, kRows = 6, kVectors = 4;
#elif defined(__AVX__)
constexpr int kBytes = 32, kRows = 6, kVectors = 2;  // 16 registers
#elif defined(__aarch64__)
constexpr int kBytes = 16, kRows = 6, kVectors = 4;
#else
constexpr int kBytes = 16, kRows = 4, kVectors = 2;
#endif

// Rows of packed weights that a panel's pass reads: they stay in the first-level cache.
constexpr int64_t kDepth = 128;

template <class T>
struct Vec {
  typedef T type __attribute__((vector_size(kBytes)));
  typedef typename std::conditional<sizeof(T) == 4, int32_t, int64_t>::type integer;
  typedef integer ints __attribute__((vector_size(kBytes)));
  static constexpr int length = kBytes / sizeof(T);
  static constexpr int panel = length * kVectors;
};

template <class T>
static inline typename Vec<T>::type load(const T* from) {
  typename Vec<T>::type value;
  std::memcpy(&value, from, kBytes);
  return value;
}

// The first `count` numbers, zeros after them.
template <class T>
static inline typename Vec<T>::type load(const T* from, int count) {
  if (count == Vec<T>::length) return load(from);
  typename Vec<T>::type value = {};
  std::memcpy(&value, from, count * sizeof(T));
  return value;
}

template <class T>
static inline void store(T* to, const typename Vec<T>::type& value, int count = Vec<T>::length) {
  if (count == Vec<T>::length)
    std::memcpy(to, &value, kBytes);
  else
    std::memcpy(to, &value, count * sizeof(T));
}

// exp: 2^n exp(r) with |r| at most half of log 2, exp(r) by its series: the last digit may differ.
static inline Vec<float>::type exp_of(Vec<float>::type x) {
  typedef Vec<float>::type V;
  typedef Vec<float>::ints I;
  const V low = V{} - 87.0f, high = V{} + 88.0f;
  x = x < low ? low : x;
  x = x > high ? high : x;
  const V magic = V{} + 12582912.0f;  // 1.5 * 2^23: the sum's last bits are the nearest whole number
  const V shifted = x * 1.44269504f + magic;
  const V n = shifted - magic;
  V r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  V p = r * (1.0f / 5040) + (1.0f / 720);
  p = p * r + (1.0f / 120);
  p = p * r + (1.0f / 24);
  p = p * r + (1.0f / 6);
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  const I power = (I)shifted - (I)magic;
  return p * (V)((power + 127) << 23);
}

// Single numbers by the library: double precision is for checks.
static inline Vec<double>::type exp_of(Vec<double>::type x) {
  for (int k = 0; k < Vec<double>::length; ++k) x[k] = std::exp(x[k]);
  return x;
}

template <class V>
static inline V sigmoid_of(V x) {
  return 1 / (1 + exp_of(-x));
}

static inline Vec<float>::type tanh_of(Vec<float>::type x) {
  typedef Vec<float>::type V;
  const V magnitude = x < 0 ? -x : x;
  const V outer = 1 - 2 / (exp_of(2 * magnitude) + 1);
  // Near zero that difference would lose digits: a series in x^2 (Cephes' tanhf).
  const V z = x * x;
  V p = z * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  const V inner = p * z * x + x;
  return magnitude < 0.625f ? inner : (x < 0 ? -outer : outer);
}

static inline Vec<double>::type tanh_of(Vec<double>::type x) {
  for (int k = 0; k < Vec<double>::length; ++k) x[k] = std::tanh(x[k]);
  return x;
}

template <class V, class T>
static inline V clamp(V x, T limit) {
  const V high = V{} + limit;
  x = x < -high ? -high : x;
  return x > high ? high : x;
}

template <class T>
static int64_t packed_size(int64_t depth, int64_t columns) {
  return (columns + Vec<T>::panel - 1) / Vec<T>::panel * Vec<T>::panel * depth;
}

// Panels of neighbouring columns, each (depth, panel), columns that are missing filled with zeros.
// Element (k, j) of what is packed is from[k * k_step + j * j_step].
template <class T>
static void pack(const T* from, int64_t depth, int64_t columns, int64_t k_step, int64_t j_step, T* to) {
  constexpr int64_t kPanel = Vec<T>::panel, kTile = 16;
  for (int64_t first = 0; first < columns; first += kPanel, to += depth * kPanel) {
    const int64_t width = std::min(kPanel, columns - first);
    if (width < kPanel) std::fill(to, to + depth * kPanel, T(0));
    const T* corner = from + first * j_step;
    if (j_step == 1) {
      for (int64_t k = 0; k < depth; ++k) std::memcpy(to + k * kPanel, corner + k * k_step, width * sizeof(T));
      continue;
    }
    for (int64_t k0 = 0; k0 < depth; k0 += kTile)
      for (int64_t j = 0; j < width; ++j)
        for (int64_t k = k0; k < std::min(k0 + kTile, depth); ++k)
          to[k * kPanel + j] = corner[k * k_step + j * j_step];
  }
}

// sums (kCount, panel) += left (kCount, depth) times one packed panel (depth, panel).
template <class T, int kCount>
static void add_tile(const T* left, int64_t left_step, const T* panel, int64_t depth, T* sums, int64_t step) {
  typedef typename Vec<T>::type V;
  constexpr int kLength = Vec<T>::length;
  V held[kCount][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) held[i][v] = load(sums + i * step + v * kLength);
  for (int64_t k = 0; k < depth; ++k, panel += Vec<T>::panel) {
    V row[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) row[v] = load(panel + v * kLength);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) {
      const V factor = V{} + left[i * left_step + k];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) held[i][v] += factor * row[v];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) store(sums + i * step + v * kLength, held[i][v]);
}

template <class T>
static void add_rows(int rows, const T* left, int64_t left_step, const T* panel, int64_t depth, T* sums, int64_t step) {
  switch (rows) {
    case 1: return add_tile<T, 1>(left, left_step, panel, depth, sums, step);
    case 2: return add_tile<T, 2>(left, left_step, panel, depth, sums, step);
    case 3: return add_tile<T, 3>(left, left_step, panel, depth, sums, step);
    case 4: return add_tile<T, 4>(left, left_step, panel, depth, sums, step);
    case 5: return add_tile<T, 5>(left, left_step, panel, depth, sums, step);
    default: return add_tile<T, 6>(left, left_step, panel, depth, sums, step);
  }
}

// sums (rows, columns) += left (rows, depth) times packed weights (depth, columns).
template <class T>
static void add_product(const T* left, const T* packed, T* sums, int64_t rows, int64_t depth, int64_t columns) {
  constexpr int64_t kPanel = Vec<T>::panel;
  T edge[kRows * kPanel];
  for (int64_t first = 0; first < columns; first += kPanel, packed += depth * kPanel) {
    const int64_t width = std::min(kPanel, columns - first);
    for (int64_t k = 0; k < depth; k += kDepth) {
      const int64_t part = std::min(kDepth, depth - k);
      for (int64_t row = 0; row < rows;) {
        // Rows in parts of nearly one size, rather than full ones and a small rest.
        const int64_t left_rows = rows - row, parts = (left_rows + kRows - 1) / kRows;
        const int count = int((left_rows + parts - 1) / parts);
        T* to = sums + row * columns + first;
        const T* from = left + row * depth + k;
        if (width == kPanel) {
          add_rows(count, from, depth, packed + k * kPanel, part, to, columns);
        } else {
          for (int i = 0; i < count; ++i) {
            std::memcpy(edge + i * kPanel, to + i * columns, width * sizeof(T));
            std::fill(edge + i * kPanel + width, edge + (i + 1) * kPanel, T(0));
          }
          add_rows(count, from, depth, packed + k * kPanel, part, edge, kPanel);
          for (int i = 0; i < count; ++i) std::memcpy(to + i * columns, edge + i * kPanel, width * sizeof(T));
        }
        row += count;
      }
    }
  }
}

// Of the streams of the groups from `first` to before `last`. Groups are the same however many threads share them.
template <class T>
struct Sizes {
  int64_t frames, streams, cells, outputs, groups, first, last;
  T cell_clip, diff_clip, cell_diff_clip;  // 0 for none
  int64_t begin(int64_t group) const { return streams * group / groups; }
  int64_t gates(int64_t t) const { return (t * streams + begin(first)) * 4 * cells; }
  int64_t cell(int64_t t) const { return (t * streams + begin(first)) * cells; }
  int64_t output(int64_t t) const { return (t * streams + begin(first)) * outputs; }
  int64_t rows() const { return begin(last) - begin(first); }
};

template <class T>
struct Peepholes {
  typename Vec<T>::type i = {}, f = {}, o = {};
};

// Those of `count` cells from `first`; zeros where there are none.
template <class T>
static inline Peepholes<T> load_peepholes(const T* peep, int64_t cells, int64_t first, int count) {
  if (!peep) return {};
  return {load(peep + first, count), load(peep + cells + first, count), load(peep + 2 * cells + first, count)};
}

// One frame's element-wise part: gifo comes as sums and leaves as gates.
template <class T>
static void gates_forward(const Sizes<T>& s, const T* peep, T* gifo, const T* c_old, T* c_new, T* h, T* m) {
  typedef typename Vec<T>::type V;
  for (int64_t k = 0; k < s.cells; k += Vec<T>::length) {
    const int count = int(std::min<int64_t>(Vec<T>::length, s.cells - k));
    const Peepholes<T> p = load_peepholes(peep, s.cells, k, count);
    for (int64_t n = 0; n < s.rows(); ++n) {
      T* sums = gifo + n * 4 * s.cells + k;
      const int64_t at = n * s.cells + k;
      const V old = load(c_old + at, count);
      const V g = tanh_of(load(sums, count));
      const V i = sigmoid_of(load(sums + s.cells, count) + p.i * old);
      const V f = sigmoid_of(load(sums + 2 * s.cells, count) + p.f * old);
      V c = f * old + i * g;
      if (s.cell_clip > 0) c = clamp(c, s.cell_clip);
      const V o = sigmoid_of(load(sums + 3 * s.cells, count) + p.o * c);
      const V squashed = tanh_of(c);
      store(sums, g, count);
      store(sums + s.cells, i, count);
      store(sums + 2 * s.cells, f, count);
      store(sums + 3 * s.cells, o, count);
      store(c_new + at, c, count);
      store(h + at, squashed, count);
      store(m + at, o * squashed, count);
    }
  }
}

// The same backwards. d_c comes as the gradient of this frame's cell through later frames and leaves as that of the
// frame before; d_gifo is written; to `sums` (groups, 7, C) are added the gradients of the bias and of the peepholes.
template <class T>
static void gates_backward(const Sizes<T>& s, const T* peep, const T* gifo, const T* c_old, const T* c_new, const T* h,
                           const T* d_m, T* d_c, T* d_gifo, T* sums) {
  typedef typename Vec<T>::type V;
  const int64_t before = s.begin(s.first);
  for (int64_t k = 0; k < s.cells; k += Vec<T>::length) {
    const int count = int(std::min<int64_t>(Vec<T>::length, s.cells - k));
    const Peepholes<T> p = load_peepholes(peep, s.cells, k, count);
    for (int64_t group = s.first; group < s.last; ++group) {
      T* own = sums + group * 7 * s.cells + k;
      V sum[7];
      for (int j = 0; j < 7; ++j) sum[j] = load(own + j * s.cells, count);
      for (int64_t n = s.begin(group) - before; n < s.begin(group + 1) - before; ++n) {
        const int64_t at = n * s.cells + k, gate = n * 4 * s.cells + k;
        const V g = load(gifo + gate, count), i = load(gifo + gate + s.cells, count);
        const V f = load(gifo + gate + 2 * s.cells, count), o = load(gifo + gate + 3 * s.cells, count);
        const V old = load(c_old + at, count), c = load(c_new + at, count), squashed = load(h + at, count);
        const V dm = load(d_m + at, count);
        V d_o = dm * squashed * o * (1 - o);
        V dc = load(d_c + at, count) + dm * o * (1 - squashed * squashed) + p.o * d_o;
        if (s.cell_diff_clip > 0) dc = clamp(dc, s.cell_diff_clip);
        if (s.cell_clip > 0) {
          // A clipped cell passes no gradient on.
          const V limit = V{} + s.cell_clip;
          dc = c >= limit ? V{} : dc;
          dc = c <= -limit ? V{} : dc;
        }
        V d_f = dc * old * f * (1 - f), d_i = dc * g * i * (1 - i), d_g = dc * i * (1 - g * g);
        V carried = dc * f;
        if (s.diff_clip > 0) {
          d_g = clamp(d_g, s.diff_clip), d_i = clamp(d_i, s.diff_clip);
          d_f = clamp(d_f, s.diff_clip), d_o = clamp(d_o, s.diff_clip);
        }
        carried += p.i * d_i + p.f * d_f;
        store(d_c + at, carried, count);
        store(d_gifo + gate, d_g, count);
        store(d_gifo + gate + s.cells, d_i, count);
        store(d_gifo + gate + 2 * s.cells, d_f, count);
        store(d_gifo + gate + 3 * s.cells, d_o, count);
        sum[0] += d_g, sum[1] += d_i, sum[2] += d_f, sum[3] += d_o;
        sum[4] += d_i * old, sum[5] += d_f * old, sum[6] += d_o * c;
      }
      for (int j = 0; j < 7; ++j) store(own + j * s.cells, sum[j], count);
    }
  }
}

// w_r and w_r_m are packed.
template <class T>
static void forward(const Sizes<T>& s, const T* w_r, const T* peep, const T* w_r_m, T* gifo, T* c, T* h, T* m, T* r) {
  for (int64_t t = 0; t < s.frames; ++t) {
    T* sums = gifo + s.gates(t);
    add_product(r + s.output(t), w_r, sums, s.rows(), s.outputs, 4 * s.cells);
    gates_forward(s, peep, sums, c + s.cell(t), c + s.cell(t + 1), h + s.cell(t), m + s.cell(t));
    if (w_r_m) {
      T* to = r + s.output(t + 1);
      std::fill(to, to + s.rows() * s.outputs, T(0));
      add_product(m + s.cell(t), w_r_m, to, s.rows(), s.cells, s.outputs);
    }
  }
}

// d_r (T, N, R) comes as the gradient of the outputs; the part through later frames is added. d_m (N, C) is for use.
template <class T>
static void backward(const Sizes<T>& s, const T* w_r, const T* peep, const T* w_r_m, const T* gifo, const T* c,
                     const T* h, T* d_r, T* d_c, T* d_m, T* d_gifo, T* sums) {
  T* d_cell = d_c + s.cell(0);
  for (int64_t t = s.frames - 1; t >= 0; --t) {
    T* d_out = d_r + s.output(t);
    if (t + 1 < s.frames) add_product(d_gifo + s.gates(t + 1), w_r, d_out, s.rows(), 4 * s.cells, s.outputs);
    const T* d_memory = d_out;
    if (w_r_m) {
      T* to = d_m + s.cell(0);
      std::fill(to, to + s.rows() * s.cells, T(0));
      add_product(d_out, w_r_m, to, s.rows(), s.outputs, s.cells);
      d_memory = to;
    }
    gates_backward(s, peep, gifo + s.gates(t), c + s.cell(t), c + s.cell(t + 1), h + s.cell(t), d_memory, d_cell,
                   d_gifo + s.gates(t), sums);
  }
}

#define DKT_EXPORT(T, suffix)                                                                                         \
  extern "C" int64_t dkt_packed_size_##suffix(int64_t depth, int64_t columns) { return packed_size<T>(depth, columns); } \
  extern "C" void dkt_pack_##suffix(const T* from, int64_t depth, int64_t columns, int64_t k_step, int64_t j_step,      \
                                    T* to) {                                                                           \
    pack<T>(from, depth, columns, k_step, j_step, to);                                                                 \
  }                                                                                                                    \
  extern "C" void dkt_lstm_forward_##suffix(int64_t frames, int64_t streams, int64_t cells, int64_t outputs,           \
                                            int64_t groups, int64_t first, int64_t last, T cell_clip, const T* w_r,    \
                                            const T* peep, const T* w_r_m, T* gifo, T* c, T* h, T* m, T* r) {          \
    forward<T>({frames, streams, cells, outputs, groups, first, last, cell_clip, 0, 0}, w_r, peep, w_r_m, gifo, c, h,  \
               m, r);                                                                                                  \
  }                                                                                                                    \
  extern "C" void dkt_lstm_backward_##suffix(int64_t frames, int64_t streams, int64_t cells, int64_t outputs,          \
                                             int64_t groups, int64_t first, int64_t last, T cell_clip, T diff_clip,    \
                                             T cell_diff_clip, const T* w_r, const T* peep, const T* w_r_m,            \
                                             const T* gifo, const T* c, const T* h, T* d_r, T* d_c, T* d_m, T* d_gifo, \
                                             T* sums) {                                                                \
    backward<T>({frames, streams, cells, outputs, groups, first, last, cell_clip, diff_clip, cell_diff_clip}, w_r,     \
                peep, w_r_m, gifo, c, h, d_r, d_c, d_m, d_gifo, sums);                                                 \
  }

DKT_EXPORT(float, f32)
DKT_EXPORT(double, f64)
