/* Names, dtype rules and supported kinds of all kernels, made from ops.def and the family tables. */
#include "internal.h"

#define SAME CB_RULE_SAME
#define FLOAT CB_RULE_FLOAT
#define REAL CB_RULE_REAL
#define BOOL CB_RULE_BOOL
#define LOGICAL CB_RULE_LOGICAL

static cb_op_info unary[] = {
#define UNARY(name, rule) {#name, rule, 0},
#include "ops.def"
};
static cb_op_info binary[] = {
#define BINARY(name, rule) {#name, rule, 0},
#include "ops.def"
};
static cb_op_info ternary[] = {
#define TERNARY(name, rule) {#name, rule, 0},
#include "ops.def"
};

__attribute__((constructor)) static void find_kinds(void) {
#define UNARY_BOOL(name, out, value) unary[CB_UNARY_##name].kinds |= CB_KIND_BOOL;
#define UNARY_INT(name, out, value) unary[CB_UNARY_##name].kinds |= CB_KIND_INT;
#define UNARY_REAL(name, out, value) unary[CB_UNARY_##name].kinds |= CB_KIND_REAL;
#define UNARY_COMPLEX(name, out, value) unary[CB_UNARY_##name].kinds |= CB_KIND_COMPLEX;
#define BINARY_BOOL(name, out, value) binary[CB_BINARY_##name].kinds |= CB_KIND_BOOL;
#define BINARY_INT(name, out, value) binary[CB_BINARY_##name].kinds |= CB_KIND_INT;
#define BINARY_REAL(name, out, value) binary[CB_BINARY_##name].kinds |= CB_KIND_REAL;
#define BINARY_COMPLEX(name, out, value) binary[CB_BINARY_##name].kinds |= CB_KIND_COMPLEX;
#define TERNARY_INT(name, out, value) ternary[CB_TERNARY_##name].kinds |= CB_KIND_INT;
#define TERNARY_REAL(name, out, value) ternary[CB_TERNARY_##name].kinds |= CB_KIND_REAL;
#define TERNARY_COMPLEX(name, out, value) ternary[CB_TERNARY_##name].kinds |= CB_KIND_COMPLEX;
#include "ops.def"
    ternary[CB_TERNARY_where].kinds = CB_KIND_BOOL | CB_KIND_INT | CB_KIND_REAL | CB_KIND_COMPLEX;
}

const cb_op_info *cb_op_info_of(int family, int op) {
    static const cb_op_info *tables[] = {unary, binary, ternary};
    static const int counts[] = {CB_UNARY_COUNT, CB_BINARY_COUNT, CB_TERNARY_COUNT};
    return op >= 0 && op < counts[family] ? &tables[family][op] : NULL;
}

/* Families outside ops.def export a NULL-terminated list of names. */
extern const char *const cb_reduce_names[], *const cb_argreduce_names[], *const cb_scan_names[];

const char *cb_op_name(const char *family, int op) {
    static const char *const elementwise[] = {"unary", "binary", "ternary"};
    for (int f = 0; f < 3; f++)
        if (!strcmp(family, elementwise[f])) {
            const cb_op_info *info = cb_op_info_of(f, op);
            return info ? info->name : NULL;
        }
    const struct {
        const char *family;
        const char *const *names;
    } lists[] = {{"reduce", cb_reduce_names}, {"argreduce", cb_argreduce_names}, {"scan", cb_scan_names}};
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++)
        if (!strcmp(family, lists[k].family)) {
            for (int i = 0; lists[k].names[i]; i++)
                if (i == op) return lists[k].names[i];
        }
    return NULL;
}

int cb_op_code(const char *family, const char *name) {
    const char *candidate;
    for (int op = 0; (candidate = cb_op_name(family, op)); op++)
        if (!strcmp(candidate, name)) return op;
    return -1;
}
