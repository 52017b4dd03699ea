// The words that make_tasks.c makes its records of. All in lower case and of at most six letters,
// so that three of them are an output of at most twenty characters.
#ifndef STRATA_TOOLS_TASK_WORDS_H
#define STRATA_TOOLS_TASK_WORDS_H

static const char *const WORDS[] = {
    "able",   "about",  "above",  "acid",   "across", "after",  "again",  "age",    "air",
    "all",    "almost", "along",  "angle",  "answer", "apple",  "arch",   "arm",    "art",
    "ask",    "autumn", "away",   "baby",   "back",   "bag",    "ball",   "band",   "bank",
    "basket", "bath",   "beach",  "bed",    "bell",   "bird",   "blood",  "board",  "boat",
    "body",   "bone",   "book",   "bottle", "bowl",   "box",    "branch", "bread",  "bridge",
    "bright", "brush",  "bucket", "build",  "butter", "button", "cake",   "camera", "candle",
    "card",   "cart",   "castle", "chain",  "chair",  "chalk",  "child",  "circle", "city",
    "clock",  "cloth",  "cloud",  "coat",   "coin",   "colour", "comb",   "cook",   "copper",
    "corner", "cotton", "cover",  "cream",  "crowd",  "cup",    "dance",  "day",    "desk",
    "dinner", "doctor", "door",   "dream",  "dress",  "drink",  "drum",   "dust",   "ear",
    "earth",  "edge",   "egg",    "engine", "event",  "eye",    "face",   "family", "farm",
    "father", "field",  "finger", "fire",   "flag",   "floor",  "flower", "food",   "foot",
    "forest", "fork",   "frame",  "friend", "front",  "fruit",  "garden", "gate",   "gift",
    "girl",   "glass",  "glove",  "gold",   "grass",  "group",  "guide",  "hair",   "hand",
    "hat",    "head",   "heart",  "hill",   "hole",   "home",   "honey",  "hook",   "hour",
    "house",  "ice",    "idea",   "ink",    "iron",   "island", "jacket", "jar",    "jelly",
    "jewel",  "job",    "judge",  "juice",  "jump",   "key",    "king",   "kiss",   "knee",
    "knot",   "ladder", "lake",   "lamp",   "land",   "laugh",  "leaf",   "leg",    "letter",
    "light",  "line",   "lip",    "lock",   "lunch",  "map",    "mark",   "market", "meal",
    "metal",  "middle", "milk",   "mind",   "minute", "mirror", "money",  "month",  "moon",
    "mother", "mouth",  "music",  "nail",   "name",   "neck",   "needle", "nerve",  "nest",
    "net",    "news",   "night",  "noise",  "north",  "nose",   "number", "nut",    "ocean",
    "office", "oil",    "orbit",  "oven",   "owner",  "page",   "pain",   "paint",  "pan",
    "paper",  "parcel", "park",   "party",  "paste",  "pencil", "person", "photo",  "piece",
    "pipe",   "place",  "plane",  "plant",  "plate",  "play",   "pocket", "point",  "pot",
    "powder", "price",  "prince", "queen",  "quick",  "quiet",  "rail",   "rain",   "record",
    "rice",   "ring",   "river",  "road",   "rock",   "roof",   "room",   "root",   "rope",
    "rule",   "sail",   "salt",   "sand",   "school", "sea",    "seat",   "secret", "seed",
    "shade",  "shelf",  "ship",   "shirt",  "shoe",   "shop",   "silk",   "silver", "sister",
    "skin",   "sky",    "sleep",  "smile",  "smoke",  "snow",   "soap",   "sock",   "song",
    "sound",  "soup",   "spoon",  "spring", "stage",  "stamp",  "star",   "steam",  "stem",
    "step",   "stick",  "stone",  "store",  "storm",  "story",  "street", "sugar",  "summer",
    "sun",    "table",  "tail",   "taste",  "tea",    "tent",   "theory", "thread", "ticket",
    "time",   "toe",    "tooth",  "tower",  "town",   "toy",    "train",  "tray",   "tree",
    "valley", "voice",  "wall",   "watch",  "water",  "wave",   "week",   "wheel",  "wind",
    "window", "wing",   "winter", "wire",   "wood",   "wool",   "word",   "year",   "zero",
};

static const char *const OPPOSITES[][2] = {
    {"hot", "cold"},     {"big", "small"},   {"up", "down"},        {"in", "out"},
    {"on", "off"},       {"open", "closed"}, {"full", "empty"},     {"fast", "slow"},
    {"high", "low"},     {"long", "short"},  {"wide", "narrow"},    {"thick", "thin"},
    {"heavy", "light"},  {"hard", "soft"},   {"wet", "dry"},        {"clean", "dirty"},
    {"early", "late"},   {"old", "young"},   {"rich", "poor"},      {"strong", "weak"},
    {"happy", "sad"},    {"good", "bad"},    {"right", "wrong"},    {"true", "false"},
    {"left", "right"},   {"day", "night"},   {"black", "white"},    {"first", "last"},
    {"near", "far"},     {"above", "below"}, {"before", "after"},   {"push", "pull"},
    {"win", "lose"},     {"buy", "sell"},    {"give", "take"},      {"start", "stop"},
    {"love", "hate"},    {"loud", "quiet"},  {"deep", "shallow"},   {"smooth", "rough"},
    {"sharp", "blunt"},  {"north", "south"}, {"east", "west"},      {"friend", "enemy"},
    {"always", "never"}, {"more", "less"},   {"inside", "outside"}, {"alive", "dead"},
};

// The name of each category, then its members.
static const char *const CATEGORIES[][13] = {
    {"animal", "cat", "dog", "horse", "cow", "pig", "sheep", "goat", "lion", "tiger", "bear",
     "wolf", "mouse"},
    {"colour", "red", "blue", "green", "yellow", "black", "white", "brown", "pink", "purple",
     "grey", "violet", "scarlet"},
    {"fruit", "apple", "pear", "plum", "cherry", "lemon", "grape", "peach", "mango", "melon",
     "banana", "fig", "date"},
    {"tool", "hammer", "saw", "drill", "spade", "axe", "chisel", "pliers", "file", "rake", "wrench",
     "clamp", "knife"},
    {"body part", "arm", "leg", "hand", "foot", "head", "nose", "ear", "knee", "elbow", "neck",
     "thumb", "toe"},
    {"vehicle", "car", "bus", "train", "truck", "bike", "ship", "boat", "plane", "tram", "taxi",
     "van", "ferry"},
    {"drink", "tea", "coffee", "milk", "water", "juice", "wine", "beer", "cocoa", "cider", "soda",
     "rum", "gin"},
    {"clothes", "shirt", "hat", "coat", "sock", "shoe", "glove", "scarf", "dress", "skirt", "belt",
     "jacket", "vest"},
};

static const char *const PLURALS[][2] = {
    {"cat", "cats"},        {"dog", "dogs"},      {"tree", "trees"},    {"house", "houses"},
    {"book", "books"},      {"car", "cars"},      {"bird", "birds"},    {"star", "stars"},
    {"hand", "hands"},      {"table", "tables"},  {"box", "boxes"},     {"bus", "buses"},
    {"dish", "dishes"},     {"glass", "glasses"}, {"fox", "foxes"},     {"brush", "brushes"},
    {"church", "churches"}, {"watch", "watches"}, {"city", "cities"},   {"baby", "babies"},
    {"story", "stories"},   {"fly", "flies"},     {"party", "parties"}, {"cherry", "cherries"},
    {"leaf", "leaves"},     {"knife", "knives"},  {"wolf", "wolves"},   {"shelf", "shelves"},
    {"wife", "wives"},      {"loaf", "loaves"},   {"man", "men"},       {"woman", "women"},
    {"child", "children"},  {"foot", "feet"},     {"tooth", "teeth"},   {"goose", "geese"},
    {"mouse", "mice"},      {"sheep", "sheep"},   {"key", "keys"},      {"toy", "toys"},
};

#endif
