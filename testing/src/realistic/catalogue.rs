//! The catalogue behind [`Diary`](super::Diary): common foods with their content, exercises, words of notes.

/// A food and what 100 g of it hold.
pub(super) struct Food {
    pub name: &'static str,
    /// Its key in a food catalogue.
    pub reference: &'static str,
    /// kcal; grams of protein, carbohydrate, fat and fibre.
    pub per_100_g: [f64; 5],
}

/// An exercise.
pub(super) struct Exercise {
    pub name: &'static str,
    /// Its key in an exercise catalogue.
    pub reference: &'static str,
    /// What somebody may lift.
    pub load_kg: f64,
}

const fn food(name: &'static str, reference: &'static str, per_100_g: [f64; 5]) -> Food {
    Food { name, reference, per_100_g }
}

const fn exercise(name: &'static str, reference: &'static str, load_kg: f64) -> Exercise {
    Exercise { name, reference, load_kg }
}

pub(super) const FOODS: [Food; 40] = [
    food("Oats, rolled", "usda:169705", [379.0, 13.2, 67.7, 6.5, 10.1]),
    food("Whole milk", "usda:171265", [61.0, 3.2, 4.8, 3.3, 0.0]),
    food("Banana", "usda:173944", [89.0, 1.1, 22.8, 0.3, 2.6]),
    food("Egg, boiled", "usda:173424", [155.0, 12.6, 1.1, 10.6, 0.0]),
    food("Chicken breast, grilled", "usda:171477", [165.0, 31.0, 0.0, 3.6, 0.0]),
    food("White rice, cooked", "usda:169757", [130.0, 2.7, 28.2, 0.3, 0.4]),
    food("Broccoli, steamed", "usda:169967", [35.0, 2.4, 7.2, 0.4, 3.3]),
    food("Olive oil", "usda:171413", [884.0, 0.0, 0.0, 100.0, 0.0]),
    food("Salmon, baked", "usda:175168", [206.0, 22.1, 0.0, 12.4, 0.0]),
    food("Potatoes, boiled", "usda:170438", [87.0, 1.9, 20.1, 0.1, 1.8]),
    food("Wholemeal bread", "usda:172686", [252.0, 12.5, 42.7, 3.5, 6.0]),
    food("Butter", "usda:173430", [717.0, 0.9, 0.1, 81.1, 0.0]),
    food("Greek yoghurt", "usda:170894", [97.0, 9.0, 3.9, 5.0, 0.0]),
    food("Blueberries", "usda:171711", [57.0, 0.7, 14.5, 0.3, 2.4]),
    food("Almonds", "usda:170567", [579.0, 21.2, 21.6, 49.9, 12.5]),
    food("Cheddar", "usda:173414", [403.0, 22.9, 3.4, 33.3, 0.0]),
    food("Apple", "usda:171688", [52.0, 0.3, 13.8, 0.2, 2.4]),
    food("Pasta, cooked", "usda:169751", [158.0, 5.8, 30.9, 0.9, 1.8]),
    food("Tomato sauce", "usda:170054", [29.0, 1.3, 6.3, 0.2, 1.5]),
    food("Minced beef, fried", "usda:174036", [250.0, 26.0, 0.0, 15.0, 0.0]),
    food("Lentils, cooked", "usda:172421", [116.0, 9.0, 20.1, 0.4, 7.9]),
    food("Tofu, firm", "usda:172475", [144.0, 17.3, 2.8, 8.7, 2.3]),
    food("Avocado", "usda:171705", [160.0, 2.0, 8.5, 14.7, 6.7]),
    food("Carrots, raw", "usda:170393", [41.0, 0.9, 9.6, 0.2, 2.8]),
    food("Peanut butter", "usda:172470", [588.0, 25.1, 20.0, 50.4, 6.0]),
    food("Cottage cheese", "usda:172182", [98.0, 11.1, 3.4, 4.3, 0.0]),
    food("Orange", "usda:169097", [47.0, 0.9, 11.8, 0.1, 2.4]),
    food("Honey", "usda:169640", [304.0, 0.3, 82.4, 0.0, 0.2]),
    food("Dark chocolate", "usda:170273", [598.0, 7.8, 45.9, 42.6, 10.9]),
    food("Tuna in water", "usda:173709", [116.0, 25.5, 0.0, 0.8, 0.0]),
    food("Spinach, raw", "usda:168462", [23.0, 2.9, 3.6, 0.4, 2.2]),
    food("Sweet potato, baked", "usda:168483", [90.0, 2.0, 20.7, 0.2, 3.3]),
    food("Kidney beans, cooked", "usda:173740", [127.0, 8.7, 22.8, 0.5, 7.4]),
    food("Hummus", "usda:174289", [166.0, 7.9, 14.3, 9.6, 6.0]),
    food("Pizza Margherita", "usda:173292", [266.0, 11.4, 33.3, 9.7, 2.3]),
    food("Coffee with milk", "usda:171890", [9.0, 0.6, 0.7, 0.4, 0.0]),
    food("Protein powder, whey", "usda:173180", [352.0, 78.1, 6.2, 1.6, 3.1]),
    food("Walnuts", "usda:170187", [654.0, 15.2, 13.7, 65.2, 6.7]),
    food("Cucumber", "usda:168409", [15.0, 0.7, 3.6, 0.1, 0.5]),
    food("Ice cream, vanilla", "usda:167575", [207.0, 3.5, 23.6, 11.0, 0.7]),
];

pub(super) const EXERCISES: [Exercise; 24] = [
    exercise("Back squat", "squat/back", 90.0),
    exercise("Front squat", "squat/front", 70.0),
    exercise("Bench press", "press/bench", 70.0),
    exercise("Incline bench press", "press/incline", 55.0),
    exercise("Overhead press", "press/overhead", 45.0),
    exercise("Deadlift", "hinge/deadlift", 120.0),
    exercise("Romanian deadlift", "hinge/romanian", 90.0),
    exercise("Barbell row", "row/barbell", 65.0),
    exercise("Seated cable row", "row/cable", 60.0),
    exercise("Lat pulldown", "pull/lat", 60.0),
    exercise("Pull-up", "pull/up", 0.0),
    exercise("Dip", "press/dip", 0.0),
    exercise("Leg press", "squat/press", 160.0),
    exercise("Leg curl", "leg/curl", 40.0),
    exercise("Leg extension", "leg/extension", 50.0),
    exercise("Calf raise", "leg/calf", 80.0),
    exercise("Lunge", "leg/lunge", 30.0),
    exercise("Hip thrust", "hinge/thrust", 100.0),
    exercise("Biceps curl", "arm/curl", 15.0),
    exercise("Triceps pushdown", "arm/pushdown", 25.0),
    exercise("Lateral raise", "shoulder/lateral", 10.0),
    exercise("Face pull", "shoulder/face", 20.0),
    exercise("Cable crunch", "core/crunch", 40.0),
    exercise("Farmer's walk", "carry/farmer", 40.0),
];

pub(super) const TAGS: [&str; 10] =
    ["work", "family", "sleep", "training", "weather", "health", "friends", "travel", "money", "food"];

pub(super) const ZONES: [&str; 5] =
    ["Europe/Berlin", "Europe/Madrid", "America/New_York", "Asia/Tokyo", "Australia/Sydney"];

/// What notes are made of.
pub(super) const WORDS: &str = "\
    the a my felt feels heavy light today again after before run work lunch slept badly well tired strong knee \
    shoulder left right sore better than last week coffee too much not enough water rain sun long short easy hard \
    form was off good bad slow fast kids school train late early home office meeting stressed calm happy sad alone \
    friends dinner leftovers cooked with garlic hot cold stomach headache gone still really quite maybe next time \
    more less grip failed rep spotter belt shoes new old plan skipped warm stretched walked dog Müller café 12 3 km \
    minutes";
