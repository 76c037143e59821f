export function serve(version: string, make: (name: string) => () => void): Promise<never>;
