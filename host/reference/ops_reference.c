// The ops in double: see ops_reference.h.
#include "reference/ops_reference.h"

#include <math.h>
#include <stddef.h>

// ---- rows --------------------------------------------------------------------------------------

void reference_embed(double *y, const OpProblem *p)
{
    reference_gather(y, p);
}

void reference_embed_back(double *const *d, const double *dy, const OpProblem *p)
{
    reference_gather_back(d, dy, p);
}

void reference_gather(double *y, const OpProblem *p)
{
    uint32_t cols = p->shape.cols;
    for (uint32_t r = 0; r < p->shape.rows; r++)
        for (uint32_t c = 0; c < cols; c++) y[r * cols + c] = p->in[0][p->table[r] * cols + c];
}

void reference_gather_back(double *const *d, const double *dy, const OpProblem *p)
{
    uint32_t cols = p->shape.cols;
    for (uint32_t r = 0; r < p->shape.rows; r++)
        for (uint32_t c = 0; c < cols; c++) d[0][p->table[r] * cols + c] += dy[r * cols + c];
}

// ---- value by value ----------------------------------------------------------------------------

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

void reference_swiglu(double *y, const OpProblem *p)
{
    for (uint32_t i = 0; i < p->shape.rows * p->shape.cols; i++)
        y[i] = p->in[0][i] * sigmoid(p->in[0][i]) * p->in[1][i];
}

void reference_swiglu_back(double *const *d, const double *dy, const OpProblem *p)
{
    for (uint32_t i = 0; i < p->shape.rows * p->shape.cols; i++) {
        double gate = p->in[0][i], s = sigmoid(gate);
        d[0][i] += dy[i] * p->in[1][i] * (s + gate * s * (1 - s));
        d[1][i] += dy[i] * gate * s;
    }
}

void reference_add(double *y, const OpProblem *p)
{
    for (uint32_t i = 0; i < p->shape.rows * p->shape.cols; i++) y[i] = p->in[0][i] + p->in[1][i];
}

void reference_add_back(double *const *d, const double *dy, const OpProblem *p)
{
    for (uint32_t i = 0; i < p->shape.rows * p->shape.cols; i++) {
        d[0][i] += dy[i];
        d[1][i] += dy[i];
    }
}

void reference_bias(double *y, const OpProblem *p)
{
    uint32_t cols = p->shape.cols;
    for (uint32_t i = 0; i < p->shape.rows * cols; i++) y[i] = p->in[0][i] + p->in[1][i % cols];
}

void reference_bias_back(double *const *d, const double *dy, const OpProblem *p)
{
    uint32_t cols = p->shape.cols;
    for (uint32_t i = 0; i < p->shape.rows * cols; i++) {
        d[0][i] += dy[i];
        d[1][i % cols] += dy[i];
    }
}

// ---- rmsnorm -----------------------------------------------------------------------------------

static double inverse_norm(const double *x, uint32_t cols, double epsilon)
{
    double squares = 0;
    for (uint32_t c = 0; c < cols; c++) squares += x[c] * x[c];
    return 1 / sqrt(squares / cols + epsilon);
}

void reference_rmsnorm(double *y, const OpProblem *p)
{
    uint32_t parts = p->shape.heads ? p->shape.heads : 1, cols = p->shape.cols / parts;
    for (uint32_t r = 0; r < p->shape.rows * parts; r++) {
        const double *x = p->in[0] + r * cols;
        double n = inverse_norm(x, cols, p->epsilon);
        for (uint32_t c = 0; c < cols; c++) y[r * cols + c] = x[c] * n * p->in[1][c];
    }
}

void reference_rmsnorm_back(double *const *d, const double *dy, const OpProblem *p)
{
    uint32_t parts = p->shape.heads ? p->shape.heads : 1, cols = p->shape.cols / parts;
    for (uint32_t r = 0; r < p->shape.rows * parts; r++) {
        const double *x = p->in[0] + r * cols, *gain = p->in[1], *up = dy + r * cols;
        double n = inverse_norm(x, cols, p->epsilon), mean = 0;
        for (uint32_t c = 0; c < cols; c++) mean += gain[c] * up[c] * x[c] / cols;
        for (uint32_t c = 0; c < cols; c++) {
            d[0][r * cols + c] += n * gain[c] * up[c] - n * n * n * mean * x[c];
            d[1][c] += up[c] * x[c] * n;
        }
    }
}

// ---- matrix products ---------------------------------------------------------------------------

void reference_matmul(double *y, const OpProblem *p)
{
    uint32_t n = p->shape.others, k = p->shape.cols;
    for (uint32_t r = 0; r < p->shape.rows; r++) {
        for (uint32_t j = 0; j < n; j++) {
            double sum = 0;
            for (uint32_t i = 0; i < k; i++) sum += p->in[0][r * k + i] * p->in[1][j * k + i];
            y[r * n + j] = sum;
        }
    }
}

void reference_matmul_back(double *const *d, const double *dy, const OpProblem *p)
{
    uint32_t n = p->shape.others, k = p->shape.cols;
    for (uint32_t r = 0; r < p->shape.rows; r++) {
        for (uint32_t j = 0; j < n; j++) {
            for (uint32_t i = 0; i < k; i++) {
                d[0][r * k + i] += dy[r * n + j] * p->in[1][j * k + i];
                d[1][j * k + i] += dy[r * n + j] * p->in[0][r * k + i];
            }
        }
    }
}

// ---- rope --------------------------------------------------------------------------------------

// to += the pairs of `from`, each turned by sign times the angle of its row.
static void turn(double *to, const double *from, double sign, const OpProblem *p)
{
    uint32_t half = p->shape.size / 2;
    for (uint32_t i = 0; i < p->shape.rows * p->shape.heads; i++) {
        uint32_t position = p->table[4 * (i / p->shape.heads)];
        for (uint32_t j = 0; j < half; j++) {
            uint32_t low = i * p->shape.size + j, high = low + half;
            double angle = sign * position * pow(p->theta, -(double)j / half);
            to[low] += from[low] * cos(angle) - from[high] * sin(angle);
            to[high] += from[high] * cos(angle) + from[low] * sin(angle);
        }
    }
}

void reference_rope(double *y, const OpProblem *p)
{
    for (uint32_t i = 0; i < p->shape.rows * p->shape.heads * p->shape.size; i++) y[i] = 0;
    turn(y, p->in[0], 1, p);
}

void reference_rope_back(double *const *d, const double *dy, const OpProblem *p)
{
    turn(d[0], dy, -1, p);
}

// ---- attention ---------------------------------------------------------------------------------

static double dot(const double *a, const double *b, uint32_t size)
{
    double sum = 0;
    for (uint32_t i = 0; i < size; i++) sum += a[i] * b[i];
    return sum;
}

// Where the values of a head begin in row r of q, and in row j of k and v.
static uint32_t query_at(const OpShape *s, uint32_t r, uint32_t head)
{
    return (r * s->heads + head) * s->size;
}

static uint32_t key_at(const OpShape *s, uint32_t j, uint32_t head)
{
    return (j * s->kv_heads + head / (s->heads / s->kv_heads)) * s->size;
}

// shares[j - first] = the part of key j in row r; returns the number of keys.
static uint32_t softmax(double *shares, const OpProblem *p, uint32_t r, uint32_t head)
{
    const OpShape *s = &p->shape;
    uint32_t first = p->table[4 * r + 1], count = p->table[4 * r + 2] - first;
    double most = -INFINITY, total = 0;
    for (uint32_t j = 0; j < count; j++) {
        shares[j] =
            dot(p->in[0] + query_at(s, r, head), p->in[1] + key_at(s, first + j, head), s->size) /
            sqrt(s->size);
        most = fmax(most, shares[j]);
    }
    for (uint32_t j = 0; j < count; j++) total += shares[j] = exp(shares[j] - most);
    for (uint32_t j = 0; j < count; j++) shares[j] /= total;
    return count;
}

void reference_attention(double *y, const OpProblem *p)
{
    const OpShape *s = &p->shape;
    double *shares = p->scratch;
    for (uint32_t r = 0; r < s->rows; r++) {
        for (uint32_t head = 0; head < s->heads; head++) {
            uint32_t count = softmax(shares, p, r, head), first = p->table[4 * r + 1];
            for (uint32_t i = 0; i < s->size; i++) {
                double sum = 0;
                for (uint32_t j = 0; j < count; j++)
                    sum += shares[j] * p->in[2][key_at(s, first + j, head) + i];
                y[query_at(s, r, head) + i] = sum;
            }
        }
    }
}

// One row and head: what its output's gradient `up` (size) adds to dq, dk and dv.
static void attention_row_back(double *const *d, const double *up, double *shares,
                               const OpProblem *p, uint32_t r, uint32_t head)
{
    const OpShape *s = &p->shape;
    uint32_t count = softmax(shares, p, r, head), query = query_at(s, r, head);
    double mean = 0; // of dy . v over the keys
    for (uint32_t j = 0; j < count; j++)
        mean += shares[j] * dot(up, p->in[2] + key_at(s, p->table[4 * r + 1] + j, head), s->size);
    for (uint32_t j = 0; j < count; j++) {
        uint32_t key = key_at(s, p->table[4 * r + 1] + j, head);
        double score = shares[j] * (dot(up, p->in[2] + key, s->size) - mean) / sqrt(s->size);
        for (uint32_t i = 0; i < s->size; i++) {
            d[0][query + i] += score * p->in[1][key + i];
            d[1][key + i] += score * p->in[0][query + i];
            d[2][key + i] += shares[j] * up[i];
        }
    }
}

void reference_attention_back(double *const *d, const double *dy, const OpProblem *p)
{
    for (uint32_t r = 0; r < p->shape.rows; r++)
        for (uint32_t head = 0; head < p->shape.heads; head++)
            attention_row_back(d, dy + query_at(&p->shape, r, head), p->scratch, p, r, head);
}

// ---- loss and optimizer ------------------------------------------------------------------------

// log(sum exp(x / temperature))
static double log_sum(const double *x, uint32_t count, double temperature)
{
    double most = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < count; i++) most = fmax(most, x[i]);
    for (uint32_t i = 0; i < count; i++) sum += exp((x[i] - most) / temperature);
    return most / temperature + log(sum);
}

static uint32_t largest(const double *x, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

void reference_cross_entropy(double *y, const OpProblem *p)
{
    for (uint32_t r = 0; r < p->shape.rows; r++) {
        const double *x = p->in[0] + r * p->shape.cols;
        y[2 * r] = log_sum(x, p->shape.cols, 1) - x[p->table[r]];
        y[2 * r + 1] = largest(x, p->shape.cols) == p->table[r];
    }
}

void reference_cross_entropy_back(double *const *d, const double *dy, const OpProblem *p)
{
    for (uint32_t r = 0; r < p->shape.rows; r++) {
        uint32_t first = r * p->shape.cols;
        double total = log_sum(p->in[0] + first, p->shape.cols, 1);
        for (uint32_t c = 0; c < p->shape.cols; c++)
            d[0][first + c] += dy[2 * r] * (exp(p->in[0][first + c] - total) - (c == p->table[r]));
    }
}

void reference_distill(double *losses, double *gradient, const double *teacher,
                       const double *logits, uint32_t rows, uint32_t cols, double temperature,
                       double factor)
{
    for (uint32_t r = 0; r < rows; r++) {
        const double *p = teacher + (size_t)r * cols, *q = logits + (size_t)r * cols;
        double total_p = log_sum(p, cols, temperature), total_q = log_sum(q, cols, temperature);
        losses[r] = 0;
        for (uint32_t c = 0; c < cols; c++) {
            double log_p = p[c] / temperature - total_p, log_q = q[c] / temperature - total_q;
            losses[r] += temperature * temperature * exp(log_p) * (log_p - log_q);
            gradient[(size_t)r * cols + c] = factor * (exp(log_q) - exp(log_p));
        }
    }
}

void reference_adamw(double *weight, double *mean, double *square, const double *gradient,
                     uint32_t count, unsigned step, AdamwRates rates)
{
    double correction1 = 1 - pow(rates.beta1, step), correction2 = 1 - pow(rates.beta2, step);
    for (uint32_t i = 0; i < count; i++) {
        double g = gradient[i];
        weight[i] -= rates.rate * rates.decay * weight[i];
        mean[i] = rates.beta1 * mean[i] + (1 - rates.beta1) * g;
        square[i] = rates.beta2 * square[i] + (1 - rates.beta2) * g * g;
        weight[i] -=
            rates.rate * (mean[i] / correction1) / (sqrt(square[i] / correction2) + rates.epsilon);
    }
}
