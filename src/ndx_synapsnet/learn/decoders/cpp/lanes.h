// Numbers side by side, as many as a register holds, and the two functions that gates are made of.
//
// Plain C++ with the vector types of GCC and Clang: the width follows the processor, the text does not change.
#pragma once

#include <cstdint>

namespace {

using Real = REAL;
constexpr int BYTES = REGISTER;
constexpr int LANES = BYTES / sizeof(Real);

template <int> struct Whole { using Signed = int32_t; using Unsigned = uint32_t; };
template <> struct Whole<8> { using Signed = int64_t; using Unsigned = uint64_t; };
using Int = Whole<sizeof(Real)>::Signed;
using Bits = Whole<sizeof(Real)>::Unsigned;
typedef Real Vec __attribute__((vector_size(BYTES), may_alias));
typedef Int IntVec __attribute__((vector_size(BYTES), may_alias));
typedef Bits BitsVec __attribute__((vector_size(BYTES), may_alias));
typedef Vec Loose __attribute__((aligned(sizeof(Real))));

#define INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define EACH(i, count) UNROLL for (int i = 0; i < (count); i++)

INLINE Vec load(const Real* from) { return *reinterpret_cast<const Loose*>(from); }
INLINE void store(Real* to, Vec value) { *reinterpret_cast<Loose*>(to) = value; }
INLINE void add(Real* to, Vec value) { store(to, load(to) + value); }
INLINE Vec all(Real value) { return value - Vec{}; }

INLINE Real total(Vec value) {
  Real sum = 0;
  EACH(i, LANES) sum += value[i];
  return sum;
}

// e^x to a few units of the last place, within 2^±60: 2^n times a polynomial of the rest, |rest| < ln(2) / 2. Beyond,
// the functions below are 0 or ±1 to the last digit. NaN stays NaN.
INLINE Vec exp(Vec x) {
  constexpr bool wide = sizeof(Real) == 8;
  constexpr int mantissa = wide ? 52 : 23, bias = wide ? 1023 : 127;
  constexpr Real magic = wide ? 6755399441055744.0 : 12582912.0;  // adding it rounds to a whole number
  const Vec shifted = x * Real(1.4426950408889634) + magic, n = shifted - magic, r = x - n * Real(0.69314718055994531);
  const Vec r2 = r * r;
  Vec p = (r * Real(1. / 6) + Real(1. / 2)) + r2 * ((r * Real(1. / 120) + Real(1. / 24)) + r2 * Real(1. / 720));
  if (wide) {
    constexpr double f[] = {1. / 39916800, 1. / 3628800, 1. / 362880, 1. / 40320, 1. / 5040, 1. / 720,
                            1. / 120,      1. / 24,      1. / 6,      1. / 2};
    p = r * Real(1. / 6227020800) + Real(1. / 479001600);
    EACH(k, 10) p = p * r + Real(f[k]);
  }
  p = r2 * p + (r + 1);
  const IntVec least = bias - 60 - IntVec{}, most = bias + 60 - IntVec{};
  IntVec power = (IntVec)shifted - (IntVec)all(magic) + bias;
  power = power < least ? least : power;
  power = power > most ? most : power;
  return p * (Vec)(power << mantissa);
}

INLINE Vec tanh(Vec x) { return 1 - 2 / (1 + exp(2 * x)); }
INLINE void sigmoids(Vec x, Vec y, Vec& a, Vec& b) {  // two for one division
  const Vec p = 1 + exp(-x), q = 1 + exp(-y), inverse = 1 / (p * q);
  a = q * inverse;
  b = p * inverse;
}

}  // namespace
