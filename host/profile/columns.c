// Aligned columns of text: see columns.h.
#include "profile/columns.h"

// Characters of UTF-8.
static int text_width(const char *text)
{
    int width = 0;
    for (; *text; text++) width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

// Of a column, 0: it is left out.
static int column_width(const TableLine *lines, size_t count, int column)
{
    int widest = 0;
    for (size_t i = 1; i < count; i++) {
        int width = text_width(lines[i].cells[column]);
        if (width > widest) widest = width;
    }
    int head = text_width(lines[0].cells[column]);
    return (widest || !column) && head > widest ? head : widest;
}

static void print_line(FILE *stream, const TableLine *line, const int *widths, int columns,
                       unsigned left)
{
    int space = 0; // before the next text
    for (int c = 0; c < columns; c++) {
        const char *cell = line->cells[c];
        int before = 0, behind = widths[c] - text_width(cell);
        if (c && widths[c]) space += 2;
        if (*cell && !(left & 1u << c)) {
            before = behind;
            behind = 0;
        }
        if (*cell && widths[c]) {
            fprintf(stream, "%*s%s", space + before, "", cell);
            space = 0;
        }
        if (widths[c]) space += behind;
    }
    fputc('\n', stream);
}

void columns_print(FILE *stream, const TableLine *lines, size_t count, int columns, unsigned left)
{
    int widths[TABLE_COLUMNS];
    for (int c = 0; c < columns; c++) widths[c] = column_width(lines, count, c);
    for (size_t i = 0; i < count; i++) print_line(stream, &lines[i], widths, columns, left);
}
