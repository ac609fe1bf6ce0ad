// The pass of a recurrent decoder over all neurons of a batch, forward and backward at once, on the processor.
//
// Compiled on the user's machine by `native.py`, which describes the arguments and sets the macros:
//   REAL  float or double          CELL  Gru, Rnn or Lstm      HIDDEN  H, units, a multiple of 8
//   SERIES  C, series a neuron     BEHAVIOR  0 or 1            REGISTER  bytes     VECTORS  registers in a row
//
// A column is one neuron at one place of the batch. A tile is V columns of one neuron, whose every quantity is a row of
// V numbers: few enough that a tile's state at one step stays in the first-level cache, all its steps in the second.
// For each tile: all steps forward, each keeping what the way back needs; then all steps backward, each gate's value
// giving place to its gradient. After `tiles` tiles, the products of gradients and states that make the gradient of the
// recurrent weights. Sums over columns are kept as LANES partial sums, which the caller adds up.

#include <cstring>

#include "cells.h"

namespace {

using Cell = CELL;
constexpr int V = VECTORS * LANES, H = HIDDEN, C = SERIES, G = Cell::gates, R = G * H, UNITS = Cell::units;
constexpr int AREA = H * V, STATE = Cell::kept * AREA, STEP = STATE + AREA;  // a step: what is kept, then h
#if defined(__x86_64__) && !defined(__AVX512F__)
constexpr int ROWS = 4;  // there are 16 registers
#else
constexpr int ROWS = 8;  // there are 32
#endif

// Lengths in columns count the padding of the batch to a multiple of V; `columns` and `hidden` are without.
struct Pass {
  int64_t neurons, steps, targets, batch, columns, hidden;       // N, S, L, B, B, H
  int64_t tiles, parts;                                          // done together; for as many threads
  int64_t seed, drop_below;                                      // p * 2^24 of dropout
  double keep_scale, readout_bias;                               // 1 / (1 - p)
  const Real *constant, *shared, *const *series;                 // (N, R), (S, R, B), C times (N, S, B)
  const Real *target, *weight;                                   // (N, L, B), (L, B)
  const Real *forward, *backward;                                // the recurrent weights (R, H) in the order of use
  const Real *bias, *series_weight, *readout;                    // (R), (C, R), (H)
  Real *prediction, *dconstant, *dtarget, *const *dseries;       // as above; absent where not wanted, but dconstant
  Real *work, *sums;                                             // of each part, see below
};

// The parts of `sums`: gradients that all neurons share.
constexpr int64_t D_WEIGHT = 0, D_SERIES = D_WEIGHT + R * H * LANES, D_BIAS = D_SERIES + C * R * LANES,
                  D_READOUT = D_BIAS + R * LANES, D_LOSS = D_READOUT + H * LANES, D_READOUT_BIAS = D_LOSS + LANES,
                  D_SHARED = D_READOUT_BIAS + LANES;
int64_t sums_size(const Pass& p) { return D_SHARED + BEHAVIOR * p.steps * R * p.batch; }
// The parts of `work`, after the steps of the tiles.
constexpr int64_t W_STATE = 0, W_CELL = AREA, W_MASK = 2 * AREA, W_CONSTANT = 3 * AREA, W_END = W_CONSTANT + R * LANES;
int64_t work_size(const Pass& p) { return (p.tiles * p.steps > 2 ? p.tiles * p.steps : 2) * STEP + W_END; }

struct Place {  // of a tile's step
  int64_t neuron, step, column;
  int64_t of_series(const Pass& p) const { return (neuron * p.steps + step) * p.batch + column; }
  int64_t of_shared(const Pass& p, int row) const { return (step * R + row) * p.batch + column; }
};

// One step forward: from the step `before` to `now`. The products with the recurrent weights of a few units at a time
// stay in registers until their gates are computed.
template <bool FIRST> void step_forward(const Pass& p, Place at, const Real* before, Real* now) {
  Vec x[C][VECTORS];
  EACH(c, C) EACH(v, VECTORS) x[c][v] = load(p.series[c] + at.of_series(p) + v * LANES);
  for (int first = 0; first < H; first += UNITS) {
    Vec rec[UNITS][VECTORS][G];
    EACH(u, UNITS) EACH(v, VECTORS) EACH(g, G) rec[u][v][g] = all(p.bias[g * H + first + u]);
    if constexpr (!FIRST) {
      const Real* w = p.forward + first * R;
      for (int k = 0; k < H; k++, w += UNITS * G)
        EACH(v, VECTORS) {
          const Vec h = load(before + STATE + k * V + v * LANES);
          EACH(u, UNITS) EACH(g, G) rec[u][v][g] += w[u * G + g] * h;
        }
    }
    EACH(u, UNITS) EACH(v, VECTORS) {
      Vec in[G], keep[Cell::kept];
      EACH(g, G) {
        const int row = g * H + first + u;
        in[g] = all(p.constant[at.neuron * R + row]);
        EACH(c, C) in[g] += p.series_weight[c * R + row] * x[c][v];
        if (BEHAVIOR) in[g] += load(p.shared + at.of_shared(p, row) + v * LANES);
      }
      const int place = (first + u) * V + v * LANES;
      const Vec h = FIRST ? Vec{} : load(before + STATE + place);
      const Vec c = FIRST || !Cell::cell ? Vec{} : load(before + Cell::cell * AREA + place);
      store(now + STATE + place, Cell::forward(in, rec[u][v], h, c, keep));
      EACH(k, Cell::kept) store(now + k * AREA + place, keep[k]);
    }
  }
}

// One step backward: the gradients of h and c in `work` become those of the step before; in `now`, the first R rows
// become the gradients of the gates' recurrent parts.
template <bool FIRST>
void step_backward(const Pass& p, Place at, const Real* before, Real* now, Real* work, Real* sums) {
  Real *dh = work + W_STATE, *dc = work + W_CELL;
  Vec x[C][VECTORS], dx[C][VECTORS];
  EACH(c, C) EACH(v, VECTORS) x[c][v] = load(p.series[c] + at.of_series(p) + v * LANES), dx[c][v] = Vec{};
  for (int u = 0; u < H; u++) {
    Vec input[G] = {}, recurrent[G] = {}, products[G][C] = {};
    EACH(v, VECTORS) {
      const int place = u * V + v * LANES;
      Vec keep[Cell::kept], in[G], rec[G], cell = Cell::cell ? load(dc + place) : Vec{};
      EACH(k, Cell::kept) keep[k] = load(now + k * AREA + place);
      const Vec h = FIRST ? Vec{} : load(before + STATE + place);
      const Vec c = FIRST || !Cell::cell ? Vec{} : load(before + Cell::cell * AREA + place);
      store(dh + place, Cell::backward(keep, h, c, load(dh + place), cell, in, rec));
      if (Cell::cell) store(dc + place, cell);
      EACH(g, G) {
        const int row = g * H + u;
        store(now + g * AREA + place, rec[g]);
        input[g] += in[g], recurrent[g] += rec[g];
        EACH(c, C) products[g][c] += in[g] * x[c][v], dx[c][v] += p.series_weight[c * R + row] * in[g];
        if (BEHAVIOR) add(sums + D_SHARED + at.of_shared(p, row) + v * LANES, in[g]);
      }
    }
    EACH(g, G) {
      const int row = g * H + u;
      add(work + W_CONSTANT + row * LANES, input[g]);
      add(sums + D_BIAS + row * LANES, recurrent[g]);
      EACH(c, C) add(sums + D_SERIES + (c * R + row) * LANES, products[g][c]);
    }
  }
  EACH(c, C) if (p.dseries[c]) EACH(v, VECTORS) store(p.dseries[c] + at.of_series(p) + v * LANES, dx[c][v]);
  if constexpr (!FIRST)
    for (int first = 0; first < H; first += ROWS) {
      Vec sum[ROWS][VECTORS];
      EACH(u, ROWS) EACH(v, VECTORS) sum[u][v] = load(dh + (first + u) * V + v * LANES);
      const Real* w = p.backward + first * R;
      for (int k = 0; k < R; k++, w += ROWS)
        EACH(v, VECTORS) {
          const Vec d = load(now + k * V + v * LANES);
          EACH(u, ROWS) sum[u][v] += w[u] * d;
        }
      EACH(u, ROWS) EACH(v, VECTORS) store(dh + (first + u) * V + v * LANES, sum[u][v]);
    }
}

// Dropout's factor, 0 or `keep_scale`, for a unit's columns: a hash of their place decides, so that no order matters.
constexpr struct Count {
  Bits of[LANES];
  constexpr Count() : of() {
    for (int i = 0; i < LANES; i++) of[i] = i;
  }
} COUNT;
INLINE BitsVec scattered(BitsVec x) {
  x = ((x ^ (x >> 16)) * 0x7feb352d) & 0xffffffff;
  x = ((x ^ (x >> 15)) * 0x846ca68b) & 0xffffffff;
  return x ^ (x >> 16);
}
INLINE Vec dropout(const Pass& p, Place at, int64_t target, int unit, int v) {
  const int64_t row = (target * p.neurons + at.neuron) * p.hidden + unit;
  BitsVec x;
  memcpy(&x, COUNT.of, sizeof x);
  x += uint32_t(row * p.columns + at.column + v * LANES);
  x = scattered(scattered(x & 0xffffffff) ^ Bits(p.seed));
  return (IntVec)(x >> 8) < Int(p.drop_below) ? Vec{} : all(p.keep_scale);
}

// The readout of a tile's state; the error of it at a target, and the error's gradient added to that of the state.
INLINE Vec predict(const Pass& p, const Real* h, const Real* mask, int v) {
  Vec sum[4] = {};  // of their own, as each addition waits for the one before
  for (int first = 0; first < H; first += 4)
    EACH(i, 4) {
      const int unit = (first + i) * V + v * LANES;
      sum[i] += p.readout[first + i] * (mask ? load(h + unit) * load(mask + unit) : load(h + unit));
    }
  return Real(p.readout_bias) + (sum[0] + sum[1]) + (sum[2] + sum[3]);
}
void compare(const Pass& p, Place at, int64_t target, const Real* h, Real* work, Real* sums) {
  Real *dh = work + W_STATE, *mask = p.drop_below ? work + W_MASK : nullptr;
  EACH(v, VECTORS) {
    if (mask)
      for (int u = 0; u < H; u++) store(mask + u * V + v * LANES, dropout(p, at, target, u, v));
    const int64_t place = (at.neuron * p.targets + target) * p.batch + at.column + v * LANES;
    const Vec error = predict(p, h, mask, v) - load(p.target + place);
    const Vec share = error * load(p.weight + target * p.batch + at.column + v * LANES), d = 2 * share;
    add(sums + D_LOSS, error * share);
    add(sums + D_READOUT_BIAS, d);
    if (p.dtarget) store(p.dtarget + place, -d);
    for (int u = 0; u < H; u++) {
      const int unit = u * V + v * LANES;
      const Vec through = mask ? d * load(mask + unit) : d;
      add(dh + unit, p.readout[u] * through);
      add(sums + D_READOUT + u * LANES, through * load(h + unit));
    }
  }
}

// The gradient of the recurrent weights from `count` steps: products of the gates' gradients with the state before. So
// few at a time that a gate's rows stay in the first-level cache and all of them in the second.
constexpr int TOGETHER = 16;
void weights_backward(const Real* const* steps, int count, Real* sums) {
  constexpr int WIDE = ROWS, DEEP = 2;
  if (!count) return;
  for (int g0 = 0; g0 < R; g0 += WIDE)
    for (int h0 = 0; h0 < H; h0 += DEEP) {
      Vec sum[WIDE][DEEP] = {};
      for (int t = 0; t < count; t++) {
        const Real *g = steps[t] + g0 * V, *h = steps[t] - STEP + STATE + h0 * V;
        EACH(v, VECTORS) {
          Vec state[DEEP];
          EACH(j, DEEP) state[j] = load(h + j * V + v * LANES);
          EACH(i, WIDE) {
            Vec gate = load(g + i * V + v * LANES);
#if defined(__AVX512F__)
            asm("" : "+v"(gate));  // or GCC reads it from memory for each product
#endif
            EACH(j, DEEP) sum[i][j] += gate * state[j];
          }
        }
      }
      EACH(i, WIDE) EACH(j, DEEP) add(sums + D_WEIGHT + ((g0 + i) * H + h0 + j) * LANES, sum[i][j]);
    }
}

void learn(const Pass& p, int64_t first, int64_t last, Real* steps, Real* sums) {
  Real* work = steps + work_size(p) - W_END;
  memset(sums, 0, sums_size(p) * sizeof(Real));
  const Real* waiting[TOGETHER];
  int waits = 0;
  int64_t tiles = 0;
  for (int64_t n = first; n < last; n++) {
    memset(work + W_CONSTANT, 0, R * LANES * sizeof(Real));
    for (int64_t b = 0; b < p.batch; b += V) {
      Real* tile = steps + tiles * p.steps * STEP;
      step_forward<true>(p, {n, 0, b}, nullptr, tile);
      for (int64_t s = 1; s < p.steps; s++) step_forward<false>(p, {n, s, b}, tile + (s - 1) * STEP, tile + s * STEP);
      memset(work + W_STATE, 0, 2 * AREA * sizeof(Real));
      for (int64_t s = p.steps - 1, l = p.targets - 1; s >= 0; s--, l--) {
        Real* now = tile + s * STEP;
        if (l >= 0) compare(p, {n, s, b}, l, now + STATE, work, sums);
        if (s == 0) {
          step_backward<true>(p, {n, s, b}, nullptr, now, work, sums);
          continue;
        }
        step_backward<false>(p, {n, s, b}, now - STEP, now, work, sums);
        waiting[waits++] = now;
        if (waits == TOGETHER) weights_backward(waiting, waits, sums), waits = 0;
      }
      // the steps that wait lie in this tile and those before
      if (++tiles == p.tiles) {
        weights_backward(waiting, waits, sums);
        tiles = waits = 0;
      }
    }
    for (int row = 0; row < R; row++) p.dconstant[n * R + row] = total(load(work + W_CONSTANT + row * LANES));
  }
  weights_backward(waiting, waits, sums);
}

void forecast(const Pass& p, int64_t first, int64_t last, Real* steps) {
  for (int64_t n = first; n < last; n++)
    for (int64_t b = 0; b < p.batch; b += V)
      for (int64_t s = 0, l = p.targets - p.steps; s < p.steps; s++, l++) {
        Real *now = steps + s % 2 * STEP, *before = steps + (s + 1) % 2 * STEP;
        if (s)
          step_forward<false>(p, {n, s, b}, before, now);
        else
          step_forward<true>(p, {n, s, b}, nullptr, now);
        if (l < 0) continue;
        Real* to = p.prediction + (n * p.targets + l) * p.batch + b;
        EACH(v, VECTORS) store(to + v * LANES, predict(p, now + STATE, nullptr, v));
      }
}

}  // namespace

extern "C" {

// Numbers in `work` and in `sums`, of one part; units in a row of `forward`, and of `backward`.
void sizes(const Pass* p, int64_t* result) {
  result[0] = work_size(*p), result[1] = sums_size(*p), result[2] = UNITS, result[3] = ROWS;
}

// Forecast if there is a `prediction` to write, learn otherwise. The neurons are cut into parts, each with its own work
// and sums, so that results do not depend on which thread comes first.
void run(const Pass* pass) {
  const Pass p = *pass;
#pragma omp parallel for num_threads(p.parts) schedule(static, 1)
  for (int64_t part = 0; part < p.parts; part++) {
    const int64_t first = p.neurons * part / p.parts, last = p.neurons * (part + 1) / p.parts;
    Real* work = p.work + part * work_size(p);
    if (p.prediction)
      forecast(p, first, last, work);
    else
      learn(p, first, last, work, p.sums + part * sums_size(p));
  }
}
}
