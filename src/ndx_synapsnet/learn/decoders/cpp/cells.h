// The gates' arithmetic of the recurrent layers, forward and backward, for one unit and the columns of one register.
//
// `forward`: from the gates' projected inputs and recurrent parts, and the state (h, c) before, to h; `keep` is what the
// way back needs, c in row `cell`. `backward`: from d, the gradient of h, and dc, that of c, to those of the gates'
// inputs and of their recurrent parts; returns h's own part of the gradient of the state before, and leaves c's in dc.
#pragma once

#include "lanes.h"

namespace {

struct Gru {  // reset, update, new
  static constexpr int gates = 3, kept = 4, cell = 0, units = 2;
  static INLINE Vec forward(const Vec* in, const Vec* rec, Vec h, Vec, Vec* keep) {
    sigmoids(in[0] + rec[0], in[1] + rec[1], keep[0], keep[1]);
    keep[2] = tanh(in[2] + keep[0] * rec[2]);
    keep[3] = rec[2];
    return keep[2] + keep[1] * (h - keep[2]);
  }
  static INLINE Vec backward(const Vec* keep, Vec h, Vec, Vec d, Vec&, Vec* in, Vec* rec) {
    const Vec r = keep[0], z = keep[1], n = keep[2], through = d * z;
    in[2] = (d - through) * (1 - n * n);
    rec[2] = in[2] * r;
    rec[0] = in[0] = rec[2] * keep[3] * (1 - r);
    rec[1] = in[1] = (h - n) * through * (1 - z);
    return through;
  }
};

struct Rnn {
  static constexpr int gates = 1, kept = 1, cell = 0, units = 8;
  static INLINE Vec forward(const Vec* in, const Vec* rec, Vec, Vec, Vec* keep) {
    return keep[0] = tanh(in[0] + rec[0]);
  }
  static INLINE Vec backward(const Vec* keep, Vec, Vec, Vec d, Vec&, Vec* in, Vec* rec) {
    rec[0] = in[0] = d * (1 - keep[0] * keep[0]);
    return Vec{};
  }
};

struct Lstm {  // input, forget, cell, output
  static constexpr int gates = 4, kept = 6, cell = 4, units = 2;
  static INLINE Vec forward(const Vec* in, const Vec* rec, Vec, Vec c, Vec* keep) {
    sigmoids(in[0] + rec[0], in[1] + rec[1], keep[0], keep[1]);
    keep[2] = tanh(in[2] + rec[2]);
    keep[3] = 1 / (1 + exp(-(in[3] + rec[3])));
    keep[4] = keep[1] * c + keep[0] * keep[2];
    keep[5] = tanh(keep[4]);
    return keep[3] * keep[5];
  }
  static INLINE Vec backward(const Vec* keep, Vec, Vec c, Vec d, Vec& dc, Vec* in, Vec* rec) {
    const Vec i = keep[0], f = keep[1], g = keep[2], o = keep[3], t = keep[5];
    const Vec whole = dc + d * o * (1 - t * t);
    rec[0] = in[0] = whole * g * i * (1 - i);
    rec[1] = in[1] = whole * c * f * (1 - f);
    rec[2] = in[2] = whole * i * (1 - g * g);
    rec[3] = in[3] = d * t * o * (1 - o);
    dc = whole * f;
    return Vec{};
  }
};

}  // namespace
